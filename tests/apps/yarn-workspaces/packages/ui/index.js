export function Title() {
  return <h1>From a sibling package</h1>;
}
