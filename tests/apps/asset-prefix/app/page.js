export default function Page() {
  return <h1>Prefixed assets</h1>;
}
