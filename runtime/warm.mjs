// Starts the project's dev server once while the image is built, so that no machine has to compile Next.js itself.
//
// Turbopack writes its cache in the background when it becomes idle, not at its end, and now and then it misses that
// moment. So this gives it new ones until the cache has its size and no longer changes, and fails the build where that
// does not come true.

import { spawn } from "node:child_process";
import { readdir, rm, stat, utimes } from "node:fs/promises";
import { setTimeout as pause } from "node:timers/promises";

const CACHE = ".next/dev/cache/turbopack";
const AT_LEAST = 10 * 2 ** 20; // bytes; one that was not flushed has 1 MiB, a whole one 28 MiB
const QUIET = 6; // seconds without a change
const NUDGE_EVERY = 8; // seconds; a flush that comes begins within 5
const ANSWER_WITHIN = 180; // seconds
const FLUSH_WITHIN = 120; // seconds

// As the agent starts the template by its dev script: other arguments or variables may mean another cache.
const PORT = 3001;
const COMMAND = ["node_modules/next/dist/bin/next", "dev", "-p", String(PORT), "-H", "127.0.0.1"];
const { PATH, HOME } = process.env;
const server = spawn("node", COMMAND, { env: { PATH, HOME, NEXT_TELEMETRY_DISABLED: "1" }, stdio: "inherit" });
const ended = new Promise((resolve) => server.once("exit", (code, signal) => resolve(signal ?? code)));

try {
  await page("/"); // the template's: React, Tailwind, and everything of Next.js that any page brings along
  const size = await settled();
  console.log(`warm: ${CACHE} has ${(size / 2 ** 20).toFixed(1)} MiB`);
  server.kill("SIGTERM");
  const status = await Promise.race([ended, pause(10_000, "still running after 10 s")]);
  if (status !== 0) throw new Error(`the dev server did not end as asked: ${status}`);
  // All the rest is made again out of the cache, as fast, and would only be carried about: 20 MB.
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
    if (over || server.exitCode !== null) throw new Error(`${path}: no answer, and no hope of one`);
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

/** The cache's size once it is large enough and has not changed for a while. */
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
  // A file may go while it is looked at: the database compacts itself.
  const sizes = await Promise.all(
    files.map((file) => stat(`${file.parentPath}/${file.name}`).then((found) => found.size, () => 0)),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}
