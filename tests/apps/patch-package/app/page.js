import words from "speaker";

export default function Page() {
  return <h1>Says {words}</h1>;
}
