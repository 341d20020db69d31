import { NextResponse } from "next/server";

export function middleware() {
  return new NextResponse("first answer");
}

export const config = { matcher: "/told" };
