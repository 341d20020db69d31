import content from "../generated/content.json";

export default function Page() {
  return <h1>{content.text}</h1>;
}
