import open from "fake-sqlite";

export default function Page() {
  return <h1>Opened with {open()}</h1>;
}
