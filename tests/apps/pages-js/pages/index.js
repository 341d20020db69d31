export default function Home() {
  return <h1>The pages router</h1>;
}
