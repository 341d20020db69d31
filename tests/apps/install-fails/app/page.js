export default function Page() {
  return <h1>Installed at last</h1>;
}
