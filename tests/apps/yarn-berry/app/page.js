export default function Page() {
  return <h1>Installed by berry</h1>;
}
