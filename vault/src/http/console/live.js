"use strict";
(() => {
  const EVERY = 10000; // each look is an entry of the log
  const IDLE = 15 * 60 * 1000; // nobody is looking
  let live = document.getElementById("live");
  if (!live) return;
  const place = document.getElementById("live-control");
  const button = document.createElement("button");
  const state = document.createElement("span");
  button.type = "button";
  state.setAttribute("role", "status");
  place.replaceChildren(button, state);
  let paused = false;
  let acted = Date.now();
  const show = (text) => {
    button.textContent = paused ? "Go on refreshing" : "Pause refreshing";
    if (state.textContent !== text) state.textContent = text;
  };
  const pause = (text) => {
    paused = true;
    show(text);
  };
  button.addEventListener("click", () => {
    acted = Date.now();
    if (!paused) return pause("Paused.");
    paused = false;
    show("Refreshed every ten seconds.");
    look();
  });
  for (const kind of ["pointermove", "keydown", "scroll"]) {
    addEventListener(kind, () => (acted = Date.now()), { passive: true });
  }
  function look() {
    if (paused || document.hidden || live.contains(document.activeElement)) return;
    if (Date.now() - acted > IDLE) return pause("Paused: nobody has been here for a while.");
    const request = new XMLHttpRequest();
    request.open("GET", "/console/live");
    request.responseType = "document";
    request.timeout = EVERY;
    request.onload = () => {
      const fresh = request.status === 200 && request.response && request.response.getElementById("live");
      if (!fresh) return pause("Paused: the vault answered " + request.status + ".");
      if (live.contains(document.activeElement)) return;
      const next = document.importNode(fresh, true);
      live.replaceWith(next);
      live = next;
    };
    request.onerror = request.ontimeout = () => pause("Paused: the vault did not answer.");
    request.send();
  }
  show("Refreshed every ten seconds.");
  setInterval(look, EVERY);
})();
