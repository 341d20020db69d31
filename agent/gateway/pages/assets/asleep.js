// Wakes by one navigation, and only for a person: no timer, no request and no retry, because any of them would wake a
// machine that nobody needs.
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
  // Ctrl+Tab, Alt+Tab and their like lead away from the page, and a modifier alone leads nowhere yet.
  document.addEventListener("keydown", (event) => {
    const alone = ["Alt", "AltGraph", "CapsLock", "Control", "Meta", "Shift"].includes(event.key);
    if (!alone && !event.altKey && !event.ctrlKey && !event.metaKey) wake();
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) wake();
  });
  // Back in the history leads to this page as it was left: it has to work once more, and who comes that way is a person.
  addEventListener("pageshow", (event) => {
    woken = false;
    if (event.persisted && !document.hidden) wake();
  });
})();
