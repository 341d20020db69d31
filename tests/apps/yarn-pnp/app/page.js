export default function Page() {
  return <h1>Without node_modules</h1>;
}
