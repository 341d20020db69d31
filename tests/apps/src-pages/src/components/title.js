export default function Title() {
  return <h1>Pages in src</h1>;
}
