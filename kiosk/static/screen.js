// The entrance page: puts in what the kiosk sends, plays its tone and voice, counts down, and says when it hears nothing.
"use strict";
(() => {
  const body = document.body;
  const $ = (id) => document.getElementById(id);
  const LOST_AFTER_MS = 10000; // two missed signs of life
  const LOST_AFTER_ERROR_MS = 2000; // longer than the pause before the browser tries again
  const places = { top: $("top"), main: $("main"), camera: $("camera-words"), counts: $("counts"), findings: $("findings"), banner: $("banner") };
  const before = {};
  let heardAt = performance.now();
  let countdown = null;

  // --- clock -------------------------------------------------------------------------------------------------------
  const two = (n) => String(n).padStart(2, "0");
  function tell() {
    const now = new Date();
    if ($("clock")) {
      $("clock").textContent = `${two(now.getHours())}:${two(now.getMinutes())}:${two(now.getSeconds())}`;
      $("date").textContent = `${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())}`;
    }
    const lost = performance.now() - heardAt > LOST_AFTER_MS;
    if ($("lost").hidden === lost) $("lost").hidden = !lost;
  }
  setInterval(tell, 250);

  // --- public notices take turns -------------------------------------------------------------------------------------
  const TURN_MS = 8000;
  function turn() { // by the clock, so that a redrawn page goes on where it was
    const notices = [...document.querySelectorAll(".notices > li")];
    const parts = document.querySelector(".turns .parts");
    if (!parts) return;
    const troubled = document.querySelector(".parts .not-good"); // trouble is not hidden behind a notice for long
    const turns = [parts, ...notices.flatMap((item) => (troubled ? [item, parts] : [item]))];
    const now = turns[Math.floor(performance.now() / TURN_MS) % turns.length];
    for (const item of notices) item.hidden = item !== now;
    parts.hidden = now !== parts;
  }
  setInterval(turn, 250);

  for (const name of body.dataset.tones.split(" ").filter(Boolean)) sound.ready(`/tone/${name}.wav`);

  // --- remaining time ------------------------------------------------------------------------------------------------
  function drawBar() {
    const bar = $("bar");
    if (!bar || !countdown) return;
    const gone = countdown.held ?? performance.now() - countdown.from;
    bar.style.transform = `scaleX(${Math.max(0, 1 - gone / countdown.total)})`;
    if (gone < countdown.total) requestAnimationFrame(drawBar);
  }

  // --- buttons -------------------------------------------------------------------------------------------------------
  function act(name, values = {}) {
    return fetch(`/action/${name}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(values),
    }).catch(() => null);
  }
  let holding = null; // the station may redraw the button away while it is held, so the finger is remembered here
  function hold(button) {
    if (holding) return;
    holding = button;
    button.setAttribute("data-held", "");
    if (countdown) countdown.held = performance.now() - countdown.from;
    act("pause");
  }
  function letGo() {
    if (!holding) return;
    holding.removeAttribute("data-held");
    holding = null;
    if (countdown && "held" in countdown) {
      countdown.from = performance.now() - countdown.held;
      delete countdown.held;
      requestAnimationFrame(drawBar);
    }
    act("resume");
  }
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-action]");
    if (button) act(button.dataset.action, { reference: button.dataset.reference });
  });
  document.addEventListener("pointerdown", (event) => {
    const button = event.target.closest("button[data-hold]");
    if (button) hold(button);
  });
  for (const kind of ["pointerup", "pointercancel"]) document.addEventListener(kind, letGo);
  addEventListener("blur", letGo);
  document.addEventListener("keydown", (event) => {
    if (event.key === " " && event.target.matches("button[data-hold]")) { event.preventDefault(); hold(event.target); }
  });
  document.addEventListener("keyup", (event) => { if (event.key === " ") letGo(); });

  // --- staff corner: a long press by finger, a plain press by keyboard -------------------------------------------------
  const CORNER_MS = 1000;
  const corner = $("corner");
  let pressing = 0;
  const open = () => location.assign(corner.dataset.corner);
  corner.addEventListener("pointerdown", () => { pressing = setTimeout(open, CORNER_MS); });
  for (const kind of ["pointerup", "pointerleave", "pointercancel"]) corner.addEventListener(kind, () => clearTimeout(pressing));
  corner.addEventListener("keydown", (event) => { if (event.key === "Enter") open(); });
  document.addEventListener("contextmenu", (event) => event.preventDefault());

  // --- news from the kiosk -------------------------------------------------------------------------------------------
  function show(news) {
    if (news.build !== body.dataset.build) { location.reload(); return; }
    for (const [piece, place] of Object.entries(places)) {
      if (before[piece] !== news.html[piece]) place.innerHTML = before[piece] = news.html[piece];
    }
    turn();
    body.dataset.view = news.view;
    body.dataset.face = news.face;
    body.dataset.number = news.number;
    tell();
    const total = news.closes_in_ms ?? news.progress_ms;
    if (total === null) countdown = null;
    else if (!countdown || countdown.key !== news.sound.key) countdown = { key: news.sound.key, total, from: performance.now() };
    requestAnimationFrame(drawBar);
    sound.follow(news.sound);
    // two frames later the new picture is on the glass
    requestAnimationFrame(() => requestAnimationFrame(() => fetch("/shown", {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ number: news.number }),
    }).catch(() => null)));
  }
  function listen() {
    const source = new EventSource("/events");
    const heard = () => {
      if (performance.now() - heardAt > LOST_AFTER_MS) look();
      heardAt = performance.now();
      tell();
    };
    source.addEventListener("state", (event) => { heard(); show(JSON.parse(event.data)); });
    source.addEventListener("beat", heard);
    // the browser tries again by itself, except after an answer that is no event stream
    source.addEventListener("error", () => {
      // a dead kiosk must not leave a green screen standing: say so sooner than for mere silence
      heardAt = Math.min(heardAt, performance.now() - LOST_AFTER_MS + LOST_AFTER_ERROR_MS);
      if (source.readyState === EventSource.CLOSED) setTimeout(listen, 1000);
    });
  }

  // --- camera --------------------------------------------------------------------------------------------------------
  const picture = $("picture");
  let looks = 0;
  function look() { picture.src = `/camera.mjpeg?${++looks}`; }
  picture.addEventListener("load", () => { picture.hidden = false; });
  picture.addEventListener("error", () => { picture.hidden = true; setTimeout(look, 2000); });

  addEventListener("load", () => { look(); });
  listen();
})();
