import { Counter } from "@/components/Counter";
import { Today } from "@/components/Today";

export default function Page() {
  return (
    <main className="mx-auto grid min-h-dvh max-w-md place-content-center gap-10 px-6 py-10">
      <Today />
      <Counter goal={8} />
      <p className="text-center text-sm text-balance text-ink/60">
        Change a word in your editor: the page follows, and the glasses you counted stay.
      </p>
    </main>
  );
}
