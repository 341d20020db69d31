import Title from "../components/title";

export default function Home() {
  return <Title />;
}
