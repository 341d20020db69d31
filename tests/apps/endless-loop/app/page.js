export default function Page() {
  return <h1>Before the loop</h1>;
}
