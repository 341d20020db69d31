export default function Page() {
  return <h1>No package at all</h1>;
}
