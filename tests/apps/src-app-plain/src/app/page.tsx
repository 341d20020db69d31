export default function Page() {
  return <h1>The app in src</h1>;
}
