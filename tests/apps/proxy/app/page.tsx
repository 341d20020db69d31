export default function Page() {
  return <h1>Behind a proxy</h1>;
}
