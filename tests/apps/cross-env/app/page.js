export const dynamic = "force-dynamic";

export default function Page() {
  return <h1>The environment says {process.env.GREETING}</h1>;
}
