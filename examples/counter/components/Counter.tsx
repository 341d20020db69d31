"use client";

import { useState } from "react";

const RADIUS = 88;
const AROUND = 2 * Math.PI * RADIUS;

/** Counts up to `goal`. Its state lives in the browser and survives every edit of the files. */
export function Counter({ goal }: { goal: number }) {
  const [glasses, setGlasses] = useState(0);
  const share = Math.min(glasses / goal, 1);

  return (
    <section className="flex flex-col items-center gap-8">
      <div className="relative grid size-56 place-items-center">
        <svg aria-hidden viewBox="0 0 200 200" className="absolute inset-0 -rotate-90">
          <circle cx="100" cy="100" r={RADIUS} fill="none" strokeWidth="10" className="stroke-ink/10" />
          <circle
            cx="100"
            cy="100"
            r={RADIUS}
            fill="none"
            strokeWidth="10"
            strokeLinecap="round"
            strokeDasharray={AROUND}
            strokeDashoffset={AROUND * (1 - share)}
            className={`stroke-water transition-all duration-500 ease-out ${share ? "" : "opacity-0"}`}
          />
        </svg>
        <p className="text-center" aria-live="polite">
          <span className="block font-display text-6xl tabular-nums">{glasses}</span>
          <span className="mt-1 block text-sm text-ink/60">of {goal} glasses</span>
        </p>
      </div>

      <div className="flex items-center gap-3">
        <button
          type="button"
          aria-label="One glass less"
          disabled={glasses === 0}
          onClick={() => setGlasses(glasses - 1)}
          className="size-12 cursor-pointer rounded-full border border-ink/15 text-xl transition hover:bg-ink/5 focus-visible:outline-2 focus-visible:outline-offset-2 focus-visible:outline-water disabled:cursor-default disabled:opacity-35"
        >
          −
        </button>
        <button
          type="button"
          onClick={() => setGlasses(glasses + 1)}
          className="h-12 cursor-pointer rounded-full bg-water px-7 font-medium text-paper shadow-lg shadow-water/25 transition hover:brightness-110 focus-visible:outline-2 focus-visible:outline-offset-2 focus-visible:outline-water active:scale-[0.98]"
        >
          {glasses < goal ? "I drank a glass" : "One more, why not"}
        </button>
      </div>
    </section>
  );
}
