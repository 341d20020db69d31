// Starts the project's dev server once while the image is built, so that Turbopack's cache is warm on every machine.
//
// Turbopack writes its cache in the background when it becomes idle, not at exit, and sometimes it does not. So this
// causes another compile until the cache has its full size and no longer changes, and fails the build otherwise.

import { spawn } from "node:child_process";
import { readdir, rm, stat, utimes } from "node:fs/promises";
import { setTimeout as pause } from "node:timers/promises";

const CACHE = ".next/dev/cache/turbopack";
const AT_LEAST = 10 * 2 ** 20; // bytes; an unwritten cache has 1 MiB, a complete one 28 MiB
const QUIET = 6; // seconds without a change
const NUDGE_EVERY = 8; // seconds; Turbopack begins to write within 5 s
const ANSWER_WITHIN = 180; // seconds
const FLUSH_WITHIN = 120; // seconds

// The same arguments and variables as the agent uses for the template, because others may lead to another cache.
const PORT = 3001;
const COMMAND = ["node_modules/next/dist/bin/next", "dev", "-p", String(PORT), "-H", "127.0.0.1"];
const { PATH, HOME } = process.env;
const server = spawn("node", COMMAND, { env: { PATH, HOME, NEXT_TELEMETRY_DISABLED: "1" }, stdio: "inherit" });
const ended = new Promise((resolve) => server.once("exit", (code, signal) => resolve(signal ?? code)));

try {
  await page("/"); // the template's page: React, Tailwind, and the parts of Next.js that every page needs
  const size = await settled();
  console.log(`warm: ${CACHE} has ${(size / 2 ** 20).toFixed(1)} MiB`);
  server.kill("SIGTERM");
  const status = await Promise.race([ended, pause(10_000, "still running after 10 s")]);
  if (status !== 0) throw new Error(`the dev server did not end as asked: ${status}`);
  // Next creates the rest again from the cache, just as fast. It would add 20 MB to the image.
  for (const name of await readdir(".next/dev")) {
    if (name !== "cache") await rm(`.next/dev/${name}`, { recursive: true });
  }
  const kept = await bytes(CACHE);
  if (kept < AT_LEAST) throw new Error(`only ${kept} bytes of ${CACHE} were left after the end`);
} catch (error) {
  console.error(`warm: ${error.message}`);
  server.kill("SIGKILL");
  process.exitCode = 1;
}

async function page(path) {
  const begun = performance.now();
  for (;;) {
    const over = (performance.now() - begun) / 1000 > ANSWER_WITHIN;
    if (over || server.exitCode !== null) throw new Error(`${path}: no answer`);
    let answer;
    try {
      answer = await fetch(`http://127.0.0.1:${PORT}${path}`, { signal: AbortSignal.timeout(ANSWER_WITHIN * 1000) });
    } catch {
      await pause(100); // it does not listen yet
      continue;
    }
    await answer.arrayBuffer();
    if (answer.status !== 200) throw new Error(`${path} answered ${answer.status}`);
    console.log(`warm: ${path} after ${((performance.now() - begun) / 1000).toFixed(1)} s`);
    return;
  }
}

/** Returns the cache's size once it is large enough and has not changed for QUIET seconds. */
async function settled() {
  let last = 0;
  let quiet = 0;
  for (let second = 0; second < FLUSH_WITHIN; second++) {
    await pause(1000);
    const now = await bytes(CACHE);
    quiet = now === last ? quiet + 1 : 0;
    last = now;
    if (now >= AT_LEAST && quiet >= QUIET) return now;
    if (now < AT_LEAST && second % NUDGE_EVERY === NUDGE_EVERY - 1) {
      await utimes("app/page.tsx", new Date(), new Date());
      await page("/");
    }
  }
  throw new Error(`${CACHE} has ${last} bytes after ${FLUSH_WITHIN} s; at least ${AT_LEAST} were expected`);
}

async function bytes(folder) {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  const files = entries.filter((entry) => entry.isFile());
  // Files may disappear meanwhile, because the database compacts itself.
  const sizes = await Promise.all(
    files.map((file) => stat(`${file.parentPath}/${file.name}`).then((found) => found.size, () => 0)),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}
