import { mkdirSync, readFileSync, writeFileSync } from "node:fs";

mkdirSync("generated", { recursive: true });
const text = readFileSync("content/hello.txt", "utf8").trim();
writeFileSync("generated/content.json", JSON.stringify({ text }));
