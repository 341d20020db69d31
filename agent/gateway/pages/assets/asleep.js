// Wakes the machine by one navigation, and only when a person acts. There is no timer, request or retry, because each
// would wake a machine that nobody uses.
(() => {
  "use strict";
  let woken = false;

  function wake() {
    if (woken) return;
    woken = true;
    location.replace(document.body.dataset.to);
  }

  document.addEventListener("click", (event) => {
    event.preventDefault();
    wake();
  });
  // Ctrl+Tab, Alt+Tab and the like leave the page, and a modifier alone does nothing yet.
  document.addEventListener("keydown", (event) => {
    const alone = ["Alt", "AltGraph", "CapsLock", "Control", "Meta", "Shift"].includes(event.key);
    if (!alone && !event.altKey && !event.ctrlKey && !event.metaKey) wake();
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) wake();
  });
  // The Back button can restore this page from the browser's cache. Then it has to work once more, and a page that is
  // visible was restored by a person.
  addEventListener("pageshow", (event) => {
    woken = false;
    if (event.persisted && !document.hidden) wake();
  });
})();
