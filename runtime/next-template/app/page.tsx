/** The start page of the preview, until the app has a page of its own. */
export default function Waiting() {
  return (
    <main className="relative isolate grid min-h-dvh place-items-center overflow-hidden px-6 py-10">
      <Glow />
      <div className="flex w-full max-w-md flex-col items-center text-center">
        <Sketch />
        <p
          role="status"
          className="mt-8 inline-flex items-center gap-2.5 rounded-full border border-foreground/10 bg-background/60 px-3.5 py-1.5 text-xs font-medium text-foreground/70 shadow-sm backdrop-blur sm:mt-10"
        >
          <span className="relative flex size-2">
            <span className="absolute inset-0 rounded-full bg-emerald-500 motion-safe:animate-ping" />
            <span className="relative size-2 rounded-full bg-emerald-500" />
          </span>
          Preview is running
        </p>
        <h1 className="mt-5 text-2xl font-semibold tracking-tight text-balance sm:text-3xl">
          Waiting for the first files
        </h1>
        <p className="mt-3 max-w-sm text-sm leading-relaxed text-pretty text-foreground/60 sm:text-base">
          Your app appears here the moment its first page is saved. There is nothing to reload.
        </p>
      </div>
    </main>
  );
}

/** A soft light behind the drawing. Gradients cost less to paint than blurs. */
function Glow() {
  return (
    <div
      aria-hidden
      className="absolute inset-0 -z-10 bg-[radial-gradient(42rem_26rem_at_42%_28%,var(--color-sky-400),transparent_70%),radial-gradient(38rem_24rem_at_62%_36%,var(--color-indigo-400),transparent_70%)] opacity-20 dark:opacity-15"
    />
  );
}

/** A drawing of an empty page. */
function Sketch() {
  return (
    <div
      aria-hidden
      className="w-full max-w-72 rounded-2xl [@media(max-height:26rem)]:hidden border border-foreground/10 bg-background/70 shadow-2xl shadow-indigo-950/10 backdrop-blur sm:max-w-sm dark:shadow-black/50"
    >
      <div className="flex items-center gap-1.5 border-b border-foreground/10 px-4 py-3">
        <span className="size-2 rounded-full bg-foreground/15" />
        <span className="size-2 rounded-full bg-foreground/15" />
        <span className="size-2 rounded-full bg-foreground/15" />
        <span className="ml-2 h-2 w-24 rounded-full bg-foreground/8" />
      </div>
      <div className="space-y-4 p-4 sm:p-5">
        <div className="space-y-2">
          <Bar className="h-3.5 w-3/5 from-sky-500/70 to-indigo-500/70" />
          <Bar className="h-2.5 w-11/12 from-foreground/15 to-foreground/10 [animation-delay:150ms]" />
          <Bar className="h-2.5 w-4/6 from-foreground/15 to-foreground/10 [animation-delay:300ms]" />
        </div>
        <div className="grid grid-cols-3 gap-3">
          <Bar className="h-12 from-foreground/10 to-foreground/5 [animation-delay:450ms] sm:h-16" />
          <Bar className="h-12 from-foreground/10 to-foreground/5 [animation-delay:600ms] sm:h-16" />
          <Bar className="h-12 from-foreground/10 to-foreground/5 [animation-delay:750ms] sm:h-16" />
        </div>
      </div>
    </div>
  );
}

function Bar({ className }: { className: string }) {
  return <div className={`rounded-lg bg-linear-to-r motion-safe:animate-pulse ${className}`} />;
}
