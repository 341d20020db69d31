/** Rendered on the server: an edit here is fetched anew, without a reload. */
export function Today() {
  const day = new Date().toLocaleDateString("en-GB", { weekday: "long", day: "numeric", month: "long" });

  return (
    <header className="text-center">
      <p className="text-xs font-semibold tracking-[0.2em] text-water uppercase">{day}</p>
      <h1 className="mt-3 font-display text-4xl tracking-tight text-balance sm:text-5xl">A glass at a time</h1>
    </header>
  );
}
