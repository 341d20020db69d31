import widget from "peer-widget";

export default function Page() {
  return <h1>Shows {widget}</h1>;
}
