export default function Page() {
  return <h1>App one</h1>;
}
