import { mkdirSync, readFileSync, watch, writeFileSync } from "node:fs";

mkdirSync("generated", { recursive: true });
function generate() {
  const text = readFileSync("content/hello.txt", "utf8").trim();
  if (text) writeFileSync("generated/content.json", JSON.stringify({ text }));
}
generate();
watch("content", generate);
