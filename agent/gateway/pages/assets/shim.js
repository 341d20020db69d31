// The one script that the gateway adds to the app's pages. It tells the gateway whether the page is seen and used, and
// when the machine goes to sleep it puts the asleep page in the app's place, so that nothing on the page goes on asking.
// When the page is opened again, its scroll positions and form values come back.
//
// It runs before everything else on the page and must not be noticed: no globals, no DOM left behind, no error, and
// the WebSocket that it listens in on is the browser's own. It never dials by itself: only a person brings it back.
(() => {
  "use strict";
  if (document.currentScript) document.currentScript.remove(); // React hydrates exactly the DOM that the app sent

  const INPUT_MS = 15_000; // input is told at most this often
  const DIAL_MS = 15_000; // and a lost socket dialled again
  const RESTORE_MS = 15_000;
  const HYDRATION_MS = 3_000; // for elements that no React takes over
  const LOOK_MS = 100;
  const HELD_LOOKS = 3; // for so many a scroll position has to stand
  const STATE_CHARACTERS = 100_000;
  const BOXES = 50;

  const NativeSocket = window.WebSocket;
  let asleep = false;
  let frozen = false; // by the browser, and not seen since

  // ---- The socket to the gateway

  let live = null;
  let dialled = -Infinity;
  let told = -Infinity;
  let pointer = null;

  function dial() {
    const now = performance.now();
    if (live || asleep || now - dialled < DIAL_MS) return;
    dialled = now;
    const scheme = location.protocol === "https:" ? "wss://" : "ws://";
    try {
      live = new NativeSocket(scheme + location.host + "/__preview/live?path=" + encodeURIComponent(location.pathname));
    } catch {
      return; // the app's own policy may forbid it
    }
    live.onopen = look;
    live.onmessage = (event) => event.data === "sleep" && (asleep ? leave() : fallAsleep({ told: true }));
    live.onclose = (event) => {
      live = null;
      if (isAsleep(event)) fallAsleep();
    };
  }

  function say(message) {
    if (live && live.readyState === NativeSocket.OPEN) live.send(message);
  }

  function look() {
    if (!document.hidden) {
      frozen = false;
      dial();
      release();
    }
    say(document.hidden ? "hidden" : "visible");
  }

  function used(device, event) {
    if (!event.isTrusted || document.hidden) return;
    if (event.type === "pointermove") {
      // A page that moves under a resting pointer makes the browser say that the pointer moved.
      const before = pointer;
      pointer = event.screenX + " " + event.screenY;
      if (before === null || before === pointer) return;
    }
    dial();
    const now = performance.now();
    if (now - told < INPUT_MS || !live || live.readyState !== NativeSocket.OPEN) return;
    told = now;
    say("input " + device);
  }

  const DEVICES = { pointermove: "pointer", pointerdown: "pointer", keydown: "key", wheel: "wheel", touchmove: "touch" };
  for (const type in DEVICES) {
    addEventListener(type, (event) => used(DEVICES[type], event), { capture: true, passive: true });
  }
  document.addEventListener("visibilitychange", look, true);
  document.addEventListener("freeze", () => (frozen = true), true);

  // A page that the browser keeps for its Back button hangs up: else it would learn of its socket's end only when it has
  // long been seen again. Who comes back to it that way is a person.
  addEventListener("pagehide", (event) => event.persisted && hangUp(), true);
  addEventListener("pageshow", (event) => event.persisted && look(), true);

  function hangUp() {
    if (!live) return;
    live.onopen = live.onmessage = live.onclose = null;
    live.close();
    live = null;
    dialled = -Infinity;
  }

  // ---- Falling asleep

  // Of the page as it is now: an app may have changed its address since it was loaded.
  function key() {
    return "__preview:" + location.pathname + location.search;
  }

  function isAsleep(event) {
    return event.code === 1001 && event.reason === "asleep";
  }

  function fallAsleep({ told } = {}) {
    if (asleep) return;
    asleep = true;
    silence();
    store(key(), () => saved());
    // What a tab hears that was frozen or very busy may be old: the machine is long gone, and to ask it for the asleep page
    // would wake it for nobody. So a tab that nobody sees says once more over its socket that it is hidden, upon which a
    // machine that is still there says `sleep` once more. Until then, silent as it is, the page waits to be seen, and
    // comes back by itself.
    if (document.hidden && (told || frozen)) {
      document.addEventListener("visibilitychange", () => document.hidden || location.reload());
      say("hidden");
    } else {
      leave();
    }
  }

  function leave() {
    const to = location.pathname + location.search + location.hash;
    // With its origin, because the app may have set another one for what its addresses are relative to.
    location.replace(location.origin + "/__preview/asleep?to=" + encodeURIComponent(to));
  }

  // Until the asleep page is there, nothing of the app may dial, ask or stay: Next's own client would reload the page.
  function silence() {
    const never = () => new Promise(() => {});
    window.fetch = never;
    window.EventSource = function EventSource() {
      return deaf(new EventTarget());
    };
    XMLHttpRequest.prototype.send = () => {};
    Navigator.prototype.sendBeacon = () => true;
  }

  // What looks like a connection that is being made, for ever.
  function deaf(target) {
    return Object.assign(target, { readyState: 0, bufferedAmount: 0, send() {}, close() {} });
  }

  addEventListener("beforeunload", (event) => asleep && event.stopImmediatePropagation(), true);

  // Hot reloading, Next's as well as Vite's, learns from its socket's end that it has to dial again, every second. Of a machine that went to
  // sleep it must not learn that. And it must not dial again while nobody sees the page: the socket may have been lost
  // together with the machine, by a laptop that was shut, and dialling would wake it.
  const HOT = /\/_next\/(webpack-)?hmr(\?|$)/;
  const isHot = (url, protocols) => HOT.test(String(url)) || /^vite-(hmr|ping)$/.test(String(protocols));
  const postponed = new Set();
  let hydrating = true; // a page needs its first one to become alive

  function release() {
    for (const socket of postponed) {
      postponed.delete(socket);
      const end = new CloseEvent("close", { code: 1006 });
      socket.readyState = NativeSocket.CLOSED;
      socket.dispatchEvent(new Event("error")); // Vite's client waits for this one, Next's for the other
      socket.dispatchEvent(end);
      if (socket.onclose) socket.onclose(end);
    }
  }

  // A proxy of the browser's own class: `instanceof`, its constants, its prototype and subclasses of it stay what they
  // are.
  window.WebSocket = new Proxy(NativeSocket, {
    construct(target, given, maker) {
      if (asleep) return deaf(new EventTarget());
      if (!isHot(given[0], given[1])) return Reflect.construct(target, given, maker);
      if (!hydrating && document.hidden) {
        const socket = deaf(new EventTarget());
        postponed.add(socket);
        return socket;
      }
      hydrating = false;
      const socket = Reflect.construct(target, given, maker);
      socket.addEventListener("close", (event) => {
        if (!isAsleep(event)) return;
        event.stopImmediatePropagation();
        fallAsleep();
      });
      return socket;
    },
  });
  NativeSocket.prototype.constructor = window.WebSocket;

  // ---- What a person would miss

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

  // An element's way down from the body, or from the nearest one with an id.
  function wayTo(element) {
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

  function saved() {
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
        keep(state.boxes, { way: wayTo(element), scroll: [element.scrollLeft, element.scrollTop] });
      }
    }
    for (const field of document.querySelectorAll("input, select, textarea")) {
      const kind = kindOf(field);
      if (!kind) continue;
      keep(state.fields, { way: wayTo(field), kind, name: field.name, type: field.type, value: valueOf(field, kind) });
    }
    return state;
  }

  function store(name, make) {
    try {
      sessionStorage.setItem(name, JSON.stringify(make()));
    } catch {
      // A sandboxed frame has no storage, and a full one takes no more: the page sleeps all the same.
    }
  }

  // ---- Bringing it back

  const loaded = key();

  function take() {
    try {
      const state = JSON.parse(sessionStorage.getItem(loaded));
      const [visit] = performance.getEntriesByType("navigation");
      if (state && (!state.again || (visit && visit.type === "reload"))) return state;
      drop();
    } catch {
      // There is no storage.
    }
    return null;
  }

  function drop() {
    sessionStorage.removeItem(loaded);
  }

  const reacts = (thing, name) => Boolean(thing) && Object.keys(thing).some((key) => key.startsWith(name));

  // Is nothing left to wait for but React's work on single elements? On a page of Next not before React has begun: what
  // is set earlier, it would undo.
  function begun() {
    if (window.__next_f || document.getElementById("__NEXT_DATA__")) {
      return reacts(document, "__react") || reacts(document.getElementById("__next"), "__react");
    }
    return document.readyState === "complete";
  }

  function write(field, text) {
    // Past the setter that React puts on the element, so that React sees the difference.
    const kind = field instanceof HTMLTextAreaElement ? HTMLTextAreaElement : HTMLInputElement;
    Object.getOwnPropertyDescriptor(kind.prototype, "value").set.call(field, text);
  }

  function fill(field, entry) {
    if (entry.kind === "check") {
      // React hears the click of a checkbox, and no other event. A radio button is cleared by its neighbour.
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
    let calm = Infinity;
    let held = 0;
    // React has taken an element over when it has put properties of its own on it. Some elements are not React's.
    const settled = (element) => reacts(element, "__reactProps$") || performance.now() - calm > HYDRATION_MS;
    let done = false;
    const abort = new AbortController();
    const listen = (type, react) => addEventListener(type, react, { capture: true, passive: true, signal: abort.signal });

    // What the person does in the meantime counts for more.
    listen("input", (event) => {
      if (event.isTrusted) fields = fields.filter((entry) => document.querySelector(entry.way) !== event.target);
    });
    for (const type of ["wheel", "touchmove", "keydown"]) {
      listen(type, (event) => {
        if (!event.isTrusted) return;
        scroll = null;
        boxes = [];
      });
    }

    const step = () => {
      if (calm === Infinity && begun()) calm = performance.now();
      fields = fields.filter((entry) => {
        const field = document.querySelector(entry.way);
        if (!field || field.name !== entry.name || field.type !== entry.type || !kindOf(field)) return true;
        if (!settled(field)) return true;
        fill(field, entry);
        return false;
      });
      boxes = boxes.filter(({ way, scroll: [left, top] }) => {
        const box = document.querySelector(way);
        if (!box || !settled(box) || box.scrollHeight - box.clientHeight < Math.floor(top)) return true;
        box.scrollTo({ left, top, behavior: "instant" });
        return false;
      });
      const page = document.scrollingElement;
      if (scroll && page && page.scrollHeight - page.clientHeight >= Math.floor(scroll[1])) {
        const there = Math.abs(scrollX - scroll[0]) < 1 && Math.abs(scrollY - scroll[1]) < 1;
        if (!there) scrollTo({ left: scroll[0], top: scroll[1], behavior: "instant" });
        // At the end of loading the browser puts back the position that it knows: after a reload, the waking page's.
        held = there && document.readyState === "complete" ? held + 1 : 0;
        if (held > HELD_LOOKS) scroll = null;
      }
      done = !scroll && !fields.length && !boxes.length;
      if (done) clearInterval(timer);
    };
    const timer = setInterval(step, LOOK_MS);
    // Next may reload the page once more when it finds that its server has compiled anew.
    listen("pagehide", () => {
      if (done && !asleep) store(loaded, () => ({ ...saved(), again: true }));
    });
    setTimeout(() => {
      clearInterval(timer);
      abort.abort();
      if (!asleep) drop();
    }, RESTORE_MS);
  }

  const state = take();
  if (state) restore(state);
  if (document.prerendering) document.addEventListener("prerenderingchange", dial, { once: true });
  else dial();
})();
