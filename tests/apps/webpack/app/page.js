export default function Page() {
  return <h1>Made by webpack</h1>;
}
