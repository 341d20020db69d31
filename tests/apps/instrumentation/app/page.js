export const dynamic = "force-dynamic";

export default function Page() {
  return <h1>Instrumented: {globalThis.instrumented ?? "no"}</h1>;
}
