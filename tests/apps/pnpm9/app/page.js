export default function Page() {
  return <h1>Installed by pnpm</h1>;
}
