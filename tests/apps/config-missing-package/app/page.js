export default function Page() {
  return <h1>Configured at last</h1>;
}
