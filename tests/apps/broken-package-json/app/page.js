export default function Page() {
  return <h1>Mended at last</h1>;
}
