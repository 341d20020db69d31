export default function Page() {
  return <h1>Typed without a compiler</h1>;
}
