export default function Home() {
  return <h1>No package in src</h1>;
}
