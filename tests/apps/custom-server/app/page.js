"use client";
import { useEffect, useState } from "react";

export default function Page() {
  const [word, setWord] = useState("nothing");
  useEffect(() => {
    const socket = new WebSocket(`ws://${location.host}/ws`);
    socket.onmessage = (event) => setWord(event.data);
    return () => socket.close();
  }, []);
  return (
    <main>
      <h1>A server of its own</h1>
      <p>socket says {word}</p>
    </main>
  );
}
