// Keeps the waking or failed page up to date, and replaces it by the app. It sends no request after the server has sent
// "gone", or while the page is hidden: a request would start a machine that went to sleep.
(() => {
  "use strict";
  const LOG_LINES = 500;
  const UNREACHABLE = "Its machine cannot be reached. Check your network connection, then click to try again.";
  const at = (id) => document.getElementById(id);
  const first = JSON.parse(at("view").textContent);
  const kind = document.body.dataset.kind;
  const wake = at("wake");
  let started = performance.now() - first.elapsed * 1000;
  let ticking = true;
  let gone = false;
  let stream = null;
  let log = null;
  let failures = 0;
  let retry = 0;

  // A reload keeps path, query and hash of the address.
  function reload() {
    if (log) log.close();
    if (stream) stream.close();
    location.reload();
  }

  function show(view) {
    if (view.kind === "ready") {
      document.title = at("title").textContent = view.title;
      at("sentence").textContent = view.sentence;
      for (const row of document.querySelectorAll("li")) row.dataset.state = "done";
      return reload();
    }
    if (view.kind !== kind) return reload();
    document.title = at("title").textContent = view.title;
    at("sentence").textContent = view.sentence;
    for (const step of view.steps) {
      const row = at(step.name);
      row.dataset.state = step.state;
      row.querySelector(".detail").textContent = step.detail;
    }
    if (kind === "failed") {
      at("advice").textContent = view.advice;
      at("advice").hidden = !view.advice;
      at("code").textContent = view.code;
      at("proof").textContent = view.proof.join("\n");
      at("proof").hidden = !view.proof.length;
    }
    started = performance.now() - view.elapsed * 1000;
  }

  function tick() {
    const place = at("elapsed");
    if (!place || !ticking) return;
    const seconds = Math.max(0, Math.floor((performance.now() - started) / 1000));
    place.textContent = seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  }

  function rest(title, sentence) {
    // From here on the page sends no request, because one would wake the machine.
    if (log) log.close();
    ticking = false;
    document.body.dataset.kind = "resting";
    document.title = at("title").textContent = title;
    at("sentence").textContent = sentence;
    wake.hidden = false;
  }

  function listen() {
    clearTimeout(retry);
    if (stream) stream.close();
    stream = new EventSource("/__preview/events?path=" + encodeURIComponent(location.pathname + location.search));
    stream.addEventListener("view", (event) => {
      failures = 0;
      show(JSON.parse(event.data));
    });
    stream.addEventListener("gone", () => {
      gone = true;
      stream.close();
      rest("Your preview is asleep", "Nobody used it for a while. Click, press a key or come back to this tab to wake it up.");
    });
    stream.onerror = () => {
      stream.close();
      if (gone) return;
      failures += 1;
      if (failures > 8) return rest("Your preview does not answer", UNREACHABLE);
      if (!document.hidden) retry = setTimeout(listen, Math.min(4000, 250 * 2 ** failures));
    };
  }

  // While resting, the page is woken the same ways as asleep.html.
  document.addEventListener("click", () => {
    if (document.body.dataset.kind === "resting") reload();
  });
  document.addEventListener("keydown", (event) => {
    const alone = ["Alt", "AltGraph", "CapsLock", "Control", "Meta", "Shift"].includes(event.key);
    if (document.body.dataset.kind !== "resting" || alone) return;
    if (!event.altKey && !event.ctrlKey && !event.metaKey) reload();
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return;
    if (document.body.dataset.kind === "resting") return reload();
    if (!stream || stream.readyState === EventSource.CLOSED) {
      failures = 0;
      listen();
    }
  });

  at("log").addEventListener("toggle", () => {
    const box = at("log").querySelector("pre");
    if (log) log.close();
    log = null;
    if (!at("log").open) return;
    const lines = [];
    box.textContent = "";
    log = new EventSource("/__preview/log");
    log.onmessage = (event) => {
      lines.push(...JSON.parse(event.data));
      lines.splice(0, lines.length - LOG_LINES);
      const below = box.scrollHeight - box.scrollTop - box.clientHeight < 24;
      box.textContent = lines.length ? lines.join("\n") : "Nothing has been printed yet.";
      if (below) box.scrollTop = box.scrollHeight;
    };
    log.onerror = () => log && log.close();
  });

  setInterval(tick, 250);
  tick();
  listen();
})();
