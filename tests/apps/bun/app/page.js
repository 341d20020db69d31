export default function Page() {
  return <h1>Installed by bun</h1>;
}
