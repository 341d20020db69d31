export default function Page() {
  return <h1>Installed by yarn</h1>;
}
