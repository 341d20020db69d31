export default function Page() {
  return <h1>Another Node was wanted</h1>;
}
