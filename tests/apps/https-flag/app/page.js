export default function Page() {
  return <h1>With a certificate</h1>;
}
