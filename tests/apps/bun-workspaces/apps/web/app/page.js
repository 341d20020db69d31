import { Title } from "@mono/ui";

export default function Page() {
  return (
    <main>
      <Title />
      <p>The web app</p>
    </main>
  );
}
