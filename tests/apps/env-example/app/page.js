export const dynamic = "force-dynamic";

export default function Page() {
  if (!process.env.SECRET_OF_THE_APP) throw new Error("SECRET_OF_THE_APP is not set");
  return <h1>A secret is {process.env.SECRET_OF_THE_APP}</h1>;
}
