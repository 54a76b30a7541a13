// Staff panel and elder pages: posts forms as JSON, checks numbers while they are typed, types without a keyboard,
// and goes back to the entrance screen by itself when nobody is there, never without a warning.
"use strict";
(() => {
  const body = document.body;
  const $ = (id) => document.getElementById(id);
  const WARNING_S = 20;

  const post = (url, values) => fetch(url, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(values),
  }).then((answer) => (answer.ok ? answer.json() : null)).catch(() => null);
  const words = (text) => (text ? `${text.zh} ${text.en}` : "");
  function tell(text) { $("said").textContent = text; }
  function leave(then, message) {
    tell(message);
    if (then) setTimeout(() => location.assign(then), message ? 1500 : 0);
  }

  // --- voice ---------------------------------------------------------------------------------------------------------
  function say(name) {
    if (!name) return;
    if (body.dataset.sound === "page") sound.play([`/voice/${name}.wav`], 1);
    if (body.dataset.sound === "speaker") post(`/say/${name}`, {});
  }
  say(body.dataset.say);
  if ($("again")) $("again").addEventListener("click", () => say(body.dataset.say));

  // --- the person whose hold is being resolved stays on the screen meanwhile --------------------------------------------
  if ("held" in body.dataset) {
    post("/action/pause", {});
    setInterval(() => post("/action/pause", {}), 20000);
  }

  // --- forms ---------------------------------------------------------------------------------------------------------
  function valuesOf(form) {
    const values = {};
    for (const [name, value] of new FormData(form)) {
      if (form.elements[name] instanceof Element && form.elements[name].closest("[data-when][hidden]")) continue;
      const path = name.split(".");
      const last = path.pop();
      let place = values;
      for (const key of path) place = place[key] ??= {};
      if (value !== "" || name === "reference") place[last] = form.elements[name].type === "checkbox" ? true : value;
    }
    return values;
  }
  function mark(form, field, message) {
    for (const input of form.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
    const named = [field, `person.${field}`].map((name) => form.elements[name]).find(Boolean);
    const input = named instanceof RadioNodeList ? named[0] : named;
    if (!input) return;
    if (form.hasAttribute("data-wizard")) step(form, [...form.querySelectorAll("[data-step]")].indexOf(input.closest("[data-step]")));
    input.setAttribute("aria-invalid", "true");
    const said = document.getElementById(`${input.id}-said`);
    if (said) said.textContent = message;
    input.focus();
  }
  async function send(form) {
    const answer = await post(`/action/${form.dataset.action}`, valuesOf(form));
    if (!answer) return tell($("said").dataset.notSent);
    if (answer.done) return leave(form.dataset.then, words(answer.message));
    tell(words(answer.message));
    if (form.elements.pin) form.elements.pin.value = "";
    if (answer.values.field) mark(form, answer.values.field, words(answer.message));
  }
  for (const form of document.querySelectorAll("form[data-action]")) {
    form.addEventListener("submit", (event) => { event.preventDefault(); send(form); });
    if (form.hasAttribute("data-wizard")) step(form, 0);
    form.addEventListener("change", () => dependents(form));
    dependents(form);
  }
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-action]");
    if (!button) return;
    button.disabled = true;
    const answer = await post(`/action/${button.dataset.action}`, JSON.parse(button.dataset.values || "{}"));
    button.disabled = false;
    if (!answer) return tell($("said").dataset.notSent);
    if (answer.done) say(button.dataset.said);
    if (answer.values.fields) fill(answer.values);
    leave(answer.done ? button.dataset.then : "", words(answer.message));
  });

  // --- a photographed card fills a form; what is kept of it must be compared, and compared again when it was changed ----
  function fill({ fields, doubts }) {
    for (const [key, value] of Object.entries(fields)) {
      const input = document.getElementById(`person.${key}`);
      const place = input ?? document.querySelector(`[data-read="${key}"]`);
      place.toggleAttribute("data-doubt", doubts.includes(key));
      if (input) {
        input.value = value;
        input.dispatchEvent(new Event("input", { bubbles: true }));
      } else place.textContent = value || "–";
    }
    for (const tick of document.querySelectorAll("input[name^='person.compared.']")) tick.checked = false;
    for (const marker of document.querySelectorAll("input[data-read-by]")) marker.value = marker.dataset.readBy;
  }
  document.addEventListener("input", (event) => {
    const compared = event.target.id && document.querySelector(`input[data-compares="${event.target.id}"]`);
    if (compared) compared.checked = false;
  });

  // --- steps, and parts that only some choices need --------------------------------------------------------------------
  function step(form, wanted) {
    const steps = [...form.querySelectorAll("[data-step]")];
    steps.forEach((section, at) => { section.hidden = at !== wanted; });
  }
  function dependents(form) {
    for (const part of form.querySelectorAll("[data-when]")) {
      const [, name, not, value] = part.dataset.when.match(/^([^!=]+)(!?)=(.*)$/);
      part.hidden = (form.elements[name].value === value) === (not === "!");
    }
  }
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-go]");
    if (!button) return;
    const form = button.form;
    const steps = [...form.querySelectorAll("[data-step]")];
    step(form, steps.findIndex((section) => !section.hidden) + Number(button.dataset.go));
    tell("");
  });

  // --- keypad and surnames -----------------------------------------------------------------------------------------------
  let typing = document.querySelector("input[data-keypad]");
  document.addEventListener("focusin", (event) => { if (event.target.matches("input[data-keypad]")) typing = event.target; });
  document.addEventListener("click", (event) => {
    const key = event.target.closest("button[data-key]");
    if (key && typing) {
      typing.value = key.dataset.key === "delete" ? typing.value.slice(0, -1) : typing.value + key.dataset.key;
      typing.dispatchEvent(new Event("input", { bubbles: true }));
    }
    const insert = event.target.closest("button[data-insert]");
    if (insert) document.getElementById(insert.dataset.into).value += insert.dataset.insert;
  });

  // --- checks while typing: the newest answer wins -------------------------------------------------------------------------
  let asked = 0;
  document.addEventListener("input", async (event) => {
    tell(""); // an old complaint must not stand over the buttons
    const input = event.target.closest("input[data-check]");
    if (!input) return;
    const said = document.getElementById(`${input.id}-said`);
    const document_ = input.form.elements["person.document"];
    if (input.dataset.check === "id" && document_ && document_.value !== "resident_id") { said.textContent = ""; return; }
    const mine = ++asked;
    const answer = await post(`/check/${input.dataset.check}`, { text: input.value });
    if (mine === asked && answer) {
      said.textContent = words(answer.message);
      input.toggleAttribute("data-good", answer.done);
    }
  });

  // --- nobody there -------------------------------------------------------------------------------------------------------
  let touchedAt = performance.now();
  const touched = () => { touchedAt = performance.now(); $("idle").hidden = true; };
  for (const kind of ["pointerdown", "keydown"]) addEventListener(kind, touched);
  setInterval(() => {
    const left = Number(body.dataset.idleS) - (performance.now() - touchedAt) / 1000;
    if (left <= 0) location.assign("/");
    else if (left <= WARNING_S) {
      $("idle-left").textContent = Math.ceil(left);
      if ($("idle").hidden) { $("idle").hidden = false; $("stay").focus(); }
    }
  }, 250);

  // --- what happens at the entrance meanwhile: elders are led back to it, staff see and hear it -------------------------------
  const source = new EventSource("/events");
  source.addEventListener("state", (event) => {
    const news = JSON.parse(event.data);
    if ("follow" in body.dataset) {
      if (["measuring", "verdict", "note"].includes(news.view)) location.assign("/");
      return;
    }
    sound.follow(news.sound);
    $("strip").hidden = !news.headline;
    $("strip").dataset.face = news.face;
    $("strip").textContent = words(news.headline);
  });
})();
