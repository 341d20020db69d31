export default function Page() {
  return <h1>React eighteen</h1>;
}
