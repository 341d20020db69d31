// The script that the gateway adds to the app's pages. It tells the gateway whether the page is on screen and used. When
// the machine goes to sleep, it replaces the page by the asleep page, so that nothing on it sends requests any more.
// When the page is opened again, it restores scroll positions and form values.
//
// It runs before everything else on the page and must not disturb it: no globals, no DOM left behind, no errors, and
// window.WebSocket stays the browser's own class for everybody. It reconnects only when a person uses the page.
(() => {
  "use strict";
  if (document.currentScript) document.currentScript.remove(); // React hydrates exactly the DOM that the server sent

  const INPUT_MS = 15_000; // input is reported at most this often
  const CONNECT_MS = 15_000; // and a lost socket reopened at most this often
  const RESTORE_MS = 15_000;
  const HYDRATION_MS = 3_000; // after this, an element is taken to be none of React's
  const CHECK_MS = 100;
  const STABLE_CHECKS = 3; // a restored scroll position has to hold for this many
  const STATE_CHARACTERS = 100_000;
  const BOXES = 50;

  const NativeSocket = window.WebSocket;
  let asleep = false;
  let frozen = false; // by the browser, and not visible since

  // ---- The socket to the gateway

  let live = null;
  let connectedAt = -Infinity;
  let reportedAt = -Infinity;
  let pointer = null;

  function connect() {
    const now = performance.now();
    if (live || asleep || now - connectedAt < CONNECT_MS) return;
    connectedAt = now;
    const scheme = location.protocol === "https:" ? "wss://" : "ws://";
    try {
      live = new NativeSocket(scheme + location.host + "/__preview/live?path=" + encodeURIComponent(location.pathname));
    } catch {
      return; // the app's Content-Security-Policy may forbid it
    }
    live.onopen = reportVisibility;
    live.onmessage = (event) => event.data === "sleep" && (asleep ? showAsleepPage() : fallAsleep({ byMessage: true }));
    live.onclose = (event) => {
      live = null;
      if (isAsleep(event)) fallAsleep();
    };
  }

  function send(message) {
    if (live && live.readyState === NativeSocket.OPEN) live.send(message);
  }

  function reportVisibility() {
    if (!document.hidden) {
      frozen = false;
      connect();
      closePostponed();
    }
    send(document.hidden ? "hidden" : "visible");
  }

  function reportInput(device, event) {
    if (!event.isTrusted || document.hidden) return;
    if (event.type === "pointermove") {
      // When content moves under a resting pointer, the browser fires pointermove as well.
      const before = pointer;
      pointer = event.screenX + " " + event.screenY;
      if (before === null || before === pointer) return;
    }
    connect();
    const now = performance.now();
    if (now - reportedAt < INPUT_MS || !live || live.readyState !== NativeSocket.OPEN) return;
    reportedAt = now;
    send("input " + device);
  }

  const DEVICES = { pointermove: "pointer", pointerdown: "pointer", keydown: "key", wheel: "wheel", touchmove: "touch" };
  for (const type in DEVICES) {
    addEventListener(type, (event) => reportInput(DEVICES[type], event), { capture: true, passive: true });
  }
  document.addEventListener("visibilitychange", reportVisibility, true);
  document.addEventListener("freeze", () => (frozen = true), true);

  // A page that enters the back/forward cache closes its socket: otherwise it would learn of the socket's end only long
  // after it was shown again. A page that comes back from there was opened by a person.
  addEventListener("pagehide", (event) => event.persisted && disconnect(), true);
  addEventListener("pageshow", (event) => event.persisted && reportVisibility(), true);

  function disconnect() {
    if (!live) return;
    live.onopen = live.onmessage = live.onclose = null;
    live.close();
    live = null;
    connectedAt = -Infinity;
  }

  // ---- Falling asleep

  // From the current address, because the app may have changed it since the page was loaded.
  function key() {
    return "__preview:" + location.pathname + location.search;
  }

  function isAsleep(event) {
    return event.code === 1001 && event.reason === "asleep";
  }

  function fallAsleep({ byMessage } = {}) {
    if (asleep) return;
    asleep = true;
    silence();
    store(key(), () => currentState());
    // A message that a hidden tab receives after it was frozen or busy may be old. The machine may be gone by now, and
    // requesting the asleep page would wake it for nobody. So a hidden tab first sends `hidden` once more; a machine that
    // is still there answers with another `sleep`. Until then the page stays silent and reloads when it becomes visible.
    if (document.hidden && (byMessage || frozen)) {
      document.addEventListener("visibilitychange", () => document.hidden || location.reload());
      send("hidden");
    } else {
      showAsleepPage();
    }
  }

  function showAsleepPage() {
    const to = location.pathname + location.search + location.hash;
    // Absolute, because the app may have set another base URL.
    location.replace(location.origin + "/__preview/asleep?to=" + encodeURIComponent(to));
  }

  // Until the asleep page is loaded, the app must not connect or send requests, or block the navigation. Next's client,
  // for one, would reload the page.
  function silence() {
    const never = () => new Promise(() => {});
    window.fetch = never;
    window.EventSource = function EventSource() {
      return neverConnecting(new EventTarget());
    };
    XMLHttpRequest.prototype.send = () => {};
    Navigator.prototype.sendBeacon = () => true;
  }

  // Looks like a connection that never finishes connecting.
  function neverConnecting(target) {
    return Object.assign(target, { readyState: 0, bufferedAmount: 0, send() {}, close() {} });
  }

  addEventListener("beforeunload", (event) => asleep && event.stopImmediatePropagation(), true);

  // When its socket closes, the hot reload client of Next or Vite reconnects every second. It must not see the close of a
  // machine that went to sleep. It must not reconnect while the page is hidden either: the socket may have been lost
  // together with the machine, for example on a suspended laptop, and connecting would wake the machine.
  const HOT = /\/_next\/(webpack-)?hmr(\?|$)/;
  const isHot = (url, protocols) => HOT.test(String(url)) || /^vite-(hmr|ping)$/.test(String(protocols));
  const postponed = new Set();
  let hydrating = true; // the page needs its first hot reload socket to hydrate

  function closePostponed() {
    for (const socket of postponed) {
      postponed.delete(socket);
      const end = new CloseEvent("close", { code: 1006 });
      socket.readyState = NativeSocket.CLOSED;
      socket.dispatchEvent(new Event("error")); // Vite's client waits for `error`, Next's for `close`
      socket.dispatchEvent(end);
      if (socket.onclose) socket.onclose(end);
    }
  }

  // A Proxy keeps `instanceof`, the constants, the prototype and subclasses of the browser's class as they are.
  window.WebSocket = new Proxy(NativeSocket, {
    construct(target, args, newTarget) {
      if (asleep) return neverConnecting(new EventTarget());
      if (!isHot(args[0], args[1])) return Reflect.construct(target, args, newTarget);
      if (!hydrating && document.hidden) {
        const socket = neverConnecting(new EventTarget());
        postponed.add(socket);
        return socket;
      }
      hydrating = false;
      const socket = Reflect.construct(target, args, newTarget);
      socket.addEventListener("close", (event) => {
        if (!isAsleep(event)) return;
        event.stopImmediatePropagation();
        fallAsleep();
      });
      return socket;
    },
  });
  NativeSocket.prototype.constructor = window.WebSocket;

  // ---- Saving scroll positions and form values

  const PRIVATE = /(^|\s)(cc-\S*|one-time-code|current-password|new-password)(\s|$)/i;
  const TYPELESS = ["password", "file", "hidden", "submit", "button", "reset", "image"];

  function kindOf(field) {
    if (field.disabled || field.readOnly) return null;
    if (PRIVATE.test(field.getAttribute("autocomplete") || "")) return null;
    if (field instanceof HTMLSelectElement) return "select";
    if (field instanceof HTMLTextAreaElement) return "text";
    if (TYPELESS.includes(field.type)) return null;
    return field.type === "checkbox" || field.type === "radio" ? "check" : "text";
  }

  function valueOf(field, kind) {
    if (kind === "check") return field.checked;
    return kind === "select" ? Array.from(field.options, (option) => option.selected) : field.value;
  }

  // A CSS selector of the element, from the nearest ancestor with a unique id or from the body.
  function selectorOf(element) {
    const steps = [];
    for (let at = element; at && at !== document.body; at = at.parentElement) {
      if (at.id && document.querySelectorAll("#" + CSS.escape(at.id)).length === 1) {
        return ["#" + CSS.escape(at.id), ...steps].join(" > ");
      }
      let nth = 1;
      for (let other = at; (other = other.previousElementSibling); ) if (other.localName === at.localName) nth += 1;
      steps.unshift(CSS.escape(at.localName) + ":nth-of-type(" + nth + ")");
    }
    return ["body", ...steps].join(" > ");
  }

  function currentState() {
    const state = { scroll: [scrollX, scrollY], boxes: [], fields: [] };
    let room = STATE_CHARACTERS;
    const keep = (list, entry) => {
      const size = JSON.stringify(entry).length + 1;
      if (size > room) return;
      room -= size;
      list.push(entry);
    };
    for (const element of document.body.querySelectorAll("*")) {
      if (state.boxes.length >= BOXES) break;
      if (element.scrollTop || element.scrollLeft) {
        keep(state.boxes, { selector: selectorOf(element), scroll: [element.scrollLeft, element.scrollTop] });
      }
    }
    for (const field of document.querySelectorAll("input, select, textarea")) {
      const kind = kindOf(field);
      if (!kind) continue;
      keep(state.fields, { selector: selectorOf(field), kind, name: field.name, type: field.type, value: valueOf(field, kind) });
    }
    return state;
  }

  function store(name, makeState) {
    try {
      sessionStorage.setItem(name, JSON.stringify(makeState()));
    } catch {
      // A sandboxed iframe has no storage, and storage can be full. The page falls asleep without saved state.
    }
  }

  // ---- Restoring them

  const loaded = key();

  function loadState() {
    try {
      const state = JSON.parse(sessionStorage.getItem(loaded));
      const [visit] = performance.getEntriesByType("navigation");
      if (state && (!state.again || (visit && visit.type === "reload"))) return state;
      drop();
    } catch {
      // A sandboxed iframe has no storage.
    }
    return null;
  }

  function drop() {
    sessionStorage.removeItem(loaded);
  }

  const hasReactKey = (thing, name) => Boolean(thing) && Object.keys(thing).some((key) => key.startsWith(name));

  // True once only the hydration of single elements is left to wait for. On a page of Next, values that are set before
  // React has started would be undone.
  function reactStarted() {
    if (window.__next_f || document.getElementById("__NEXT_DATA__")) {
      return hasReactKey(document, "__react") || hasReactKey(document.getElementById("__next"), "__react");
    }
    return document.readyState === "complete";
  }

  function write(field, text) {
    // Bypasses the setter that React puts on the element, so that React notices the change.
    const kind = field instanceof HTMLTextAreaElement ? HTMLTextAreaElement : HTMLInputElement;
    Object.getOwnPropertyDescriptor(kind.prototype, "value").set.call(field, text);
  }

  function fill(field, entry) {
    if (entry.kind === "check") {
      // React listens to `click` on checkboxes and radio buttons. Checking one radio button clears the others.
      if (field.checked !== entry.value && (entry.value || field.type === "checkbox")) field.click();
      return;
    }
    if (JSON.stringify(valueOf(field, entry.kind)) === JSON.stringify(entry.value)) return;
    if (entry.kind === "select") {
      entry.value.forEach((selected, at) => field.options[at] && (field.options[at].selected = selected));
    } else {
      write(field, entry.value);
    }
    field.dispatchEvent(new Event("input", { bubbles: true }));
    field.dispatchEvent(new Event("change", { bubbles: true }));
  }

  function restore(state) {
    let fields = state.fields;
    let boxes = state.boxes;
    let scroll = state.scroll;
    let startedAt = Infinity;
    let stable = 0;
    // React has hydrated an element when it has put its own property on it. Some elements are not React's.
    const hydrated = (element) => hasReactKey(element, "__reactProps$") || performance.now() - startedAt > HYDRATION_MS;
    let done = false;
    const abort = new AbortController();
    const listen = (type, react) => addEventListener(type, react, { capture: true, passive: true, signal: abort.signal });

    // What the person does meanwhile takes precedence.
    listen("input", (event) => {
      if (event.isTrusted) fields = fields.filter((entry) => document.querySelector(entry.selector) !== event.target);
    });
    for (const type of ["wheel", "touchmove", "keydown"]) {
      listen(type, (event) => {
        if (!event.isTrusted) return;
        scroll = null;
        boxes = [];
      });
    }

    const step = () => {
      if (startedAt === Infinity && reactStarted()) startedAt = performance.now();
      fields = fields.filter((entry) => {
        const field = document.querySelector(entry.selector);
        if (!field || field.name !== entry.name || field.type !== entry.type || !kindOf(field)) return true;
        if (!hydrated(field)) return true;
        fill(field, entry);
        return false;
      });
      boxes = boxes.filter(({ selector, scroll: [left, top] }) => {
        const box = document.querySelector(selector);
        if (!box || !hydrated(box) || box.scrollHeight - box.clientHeight < Math.floor(top)) return true;
        box.scrollTo({ left, top, behavior: "instant" });
        return false;
      });
      const page = document.scrollingElement;
      if (scroll && page && page.scrollHeight - page.clientHeight >= Math.floor(scroll[1])) {
        const there = Math.abs(scrollX - scroll[0]) < 1 && Math.abs(scrollY - scroll[1]) < 1;
        if (!there) scrollTo({ left: scroll[0], top: scroll[1], behavior: "instant" });
        // At the end of loading, the browser itself restores a scroll position: after a reload, the waking page's.
        stable = there && document.readyState === "complete" ? stable + 1 : 0;
        if (stable > STABLE_CHECKS) scroll = null;
      }
      done = !scroll && !fields.length && !boxes.length;
      if (done) clearInterval(timer);
    };
    const timer = setInterval(step, CHECK_MS);
    // Next may reload the page once more when it notices that its server has recompiled it.
    listen("pagehide", () => {
      if (done && !asleep) store(loaded, () => ({ ...currentState(), again: true }));
    });
    setTimeout(() => {
      clearInterval(timer);
      abort.abort();
      if (!asleep) drop();
    }, RESTORE_MS);
  }

  const state = loadState();
  if (state) restore(state);
  if (document.prerendering) document.addEventListener("prerenderingchange", connect, { once: true });
  else connect();
})();
