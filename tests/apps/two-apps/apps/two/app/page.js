export default function Page() {
  return <h1>App two</h1>;
}
