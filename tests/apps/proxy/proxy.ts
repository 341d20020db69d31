import { NextResponse } from "next/server";

export function proxy() {
  return new NextResponse("first answer");
}

export const config = { matcher: "/told" };
