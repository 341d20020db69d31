import client from "fake-client";

export default function Page() {
  return <h1>The client knows {client.models}</h1>;
}
