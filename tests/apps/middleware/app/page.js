export default function Page() {
  return <h1>Behind middleware</h1>;
}
