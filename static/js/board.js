// The staff's screens: they follow what happens, ring until somebody accepts, and go on after a network that was gone.
"use strict";

const CATCH_UP_MS = 200; // what comes together is fetched together
const POLL_MS = 4000; // without a stream
const REFRESH_MS = 30_000; // with one: waiting times go on
const RING_MS = 3000;
const BUSY_MS = 60_000;

const body = document.body;
const connection = document.getElementById("connection");
const live = () => document.getElementById("live");
let stream;
let fetchedAt = performance.now();
let failed = false; // the last time the screen asked
let wanted = 0;
let touchedAt = -BUSY_MS;
for (const kind of ["pointerdown", "keydown", "input"]) {
  document.addEventListener(kind, () => (touchedAt = performance.now()));
}

// --- the part that changes ---

function isBusy() {
  // Nobody's typing or open list of reasons is swept away; but whoever has gone away leaves no screen that stands still.
  const there = document.activeElement;
  return performance.now() - touchedAt < BUSY_MS && there?.closest("#live") && (there.matches("input, select, textarea") || there.closest("details[open]"));
}

function refresh() {
  clearTimeout(wanted);
  wanted = setTimeout(() => {
    fetchedAt = performance.now();
    htmx.ajax("GET", location.href, { target: "#live", swap: "outerHTML" }).catch(() => {});
  }, CATCH_UP_MS);
}

setInterval(() => {
  const pause = isFollowing() ? REFRESH_MS : POLL_MS;
  if (performance.now() - fetchedAt >= pause) {
    refresh();
  }
}, 1000);

function isFollowing() {
  return stream?.readyState === EventSource.OPEN && !failed;
}

function tellConnection() {
  connection.textContent = body.dataset.offline;
  connection.hidden = isFollowing();
}

function follow() {
  stream?.close();
  stream = new EventSource(body.dataset.events);
  stream.addEventListener("open", () => {
    tellConnection();
    refresh();
  });
  stream.addEventListener("error", () => {
    tellConnection();
    if (stream.readyState === EventSource.CLOSED) {
      setTimeout(follow, 5000);
    }
  });
  for (const kind of ["new_order", "reminder", "cancellation", "change", "sold_out"]) {
    stream.addEventListener(kind, refresh);
  }
}
follow();
// After sleep the stream may look open and be dead.
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") {
    refresh();
  }
});
window.addEventListener("online", follow);

// A look that began before somebody pressed a button, or meanwhile, may show the order as it was before, and takes the place that
// the button's answer is for. So a look follows every press, and such ones are not shown.
let pressing = 0;
let pressedAt = -1;
const askedAt = new WeakMap();
document.addEventListener("htmx:beforeRequest", (event) => {
  const { requestConfig, xhr } = event.detail;
  askedAt.set(xhr, performance.now());
  if (requestConfig.verb === "get") {
    return;
  }
  pressing += 1;
  // Of a form that has left the page htmx tells nobody.
  xhr.addEventListener("loadend", () => {
    pressing -= 1;
    pressedAt = performance.now();
    refresh();
  });
});
const isOvertaken = (xhr) => pressing > 0 || askedAt.get(xhr) < pressedAt;

// What was refused, or who was faster, has to be read, and outlasts the part of the page that it came with.
const NOTICE_MS = 12_000;
const notices = document.getElementById("notices");
let fading = 0;
function keepNotices() {
  const list = live()?.querySelector(".messages");
  if (list) {
    list.removeAttribute("role");
    notices.replaceChildren(list);
    clearTimeout(fading);
    fading = setTimeout(() => notices.replaceChildren(), NOTICE_MS);
  }
}
keepNotices();

// When things have moved, a finger on its way to one button would meet another.
const STILL_MS = 600;
let before = "";
let movedAt = -STILL_MS;
const placesOf = (part) => [...part.querySelectorAll("form[action] button")].map(({ form, value }) => form.getAttribute("action") + value).join();
document.addEventListener("click", (event) => {
  const byHand = event.detail > 0 && event.target.closest("#live button, #live summary");
  if (byHand && performance.now() - movedAt < STILL_MS) {
    event.preventDefault();
    event.stopPropagation();
  }
}, true);

let focused;
document.addEventListener("htmx:beforeSwap", (event) => {
  const { requestConfig, xhr } = event.detail;
  if (requestConfig.verb === "get" && isOvertaken(xhr)) {
    event.detail.shouldSwap = false;
    return;
  }
  if (requestConfig.verb === "get" && isBusy()) {
    // Then only what has to be heard, or must not be missed, is taken over.
    event.detail.shouldSwap = false;
    failed = false;
    tellConnection();
    hear(new DOMParser().parseFromString(xhr.response, "text/html").getElementById("live"));
  }
  focused = document.activeElement?.closest("[data-order]")?.dataset.order;
  before = placesOf(live());
});
document.addEventListener("htmx:afterSwap", () => {
  failed = false;
  tellConnection();
  keepNotices();
  if (placesOf(live()) !== before) {
    movedAt = performance.now();
  }
  hear(live());
  if (focused) {
    document.querySelector(`[data-order="${focused}"]`)?.focus({ preventScroll: true });
  }
});
for (const name of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) {
  document.addEventListener(name, () => {
    failed = true;
    tellConnection();
  });
}

// --- what is heard ---

const button = document.getElementById("sound");
let audio;
let silenced = false; // by whoever sits there

function beep(notes) {
  if (audio?.state !== "running") {
    return;
  }
  notes.forEach(([pitch, at, length]) => {
    const tone = audio.createOscillator();
    const volume = audio.createGain();
    tone.frequency.value = pitch;
    volume.gain.setValueAtTime(0.3, audio.currentTime + at);
    volume.gain.exponentialRampToValueAtTime(0.001, audio.currentTime + at + length);
    tone.connect(volume).connect(audio.destination);
    tone.start(audio.currentTime + at);
    tone.stop(audio.currentTime + at + length);
  });
}
const NEW_ORDER = [[880, 0, 0.25], [1175, 0.25, 0.25], [880, 0.5, 0.25], [1175, 0.75, 0.4]];
const REMINDER = [[660, 0, 0.15], [660, 0.2, 0.15], [660, 0.4, 0.15]];
const CANCELLED = [[523, 0, 0.3], [392, 0.3, 0.3], [262, 0.6, 0.6]];

// What this browser has told already; where it may keep nothing, as long as the page is open.
const memory = new Map();
function kept(name) {
  try {
    return new Set(JSON.parse(localStorage.getItem(name) ?? "[]"));
  } catch {
    return new Set(memory.get(name));
  }
}

function keep(name, values) {
  memory.set(name, [...values].slice(-500));
  try {
    localStorage.setItem(name, JSON.stringify(memory.get(name)));
  } catch {
    // Full or forbidden: see above.
  }
}

let ringing = 0;
function ring(on) {
  body.dataset.ringing = on ? "new" : "";
  if (on && !ringing) {
    beep(NEW_ORDER);
    ringing = setInterval(() => beep(NEW_ORDER), RING_MS);
  } else if (!on) {
    clearInterval(ringing);
    ringing = 0;
  }
}

// What is on the screen says what has to be heard: it makes no difference how it came, or what was missed meanwhile.
function hear(shown) {
  if (!shown) {
    return;
  }
  ring(Number(shown.dataset.new) > 0);
  const heard = kept("waimai.reminded");
  for (const card of shown.querySelectorAll("[data-order]")) {
    const { order, reminded, answered } = card.dataset;
    for (const mark of [reminded && `${order}:${reminded}`, answered && `${order}:answer ${answered}`]) {
      if (mark && !heard.has(mark)) {
        heard.add(mark);
        body.dataset.reminded = order;
        beep(REMINDER);
      }
    }
  }
  keep("waimai.reminded", heard);
  const known = kept("waimai.cancelled");
  const fresh = [...shown.querySelectorAll("#cancellations li")].filter((event) => !known.has(event.dataset.id));
  if (fresh.length) {
    tellCancelled(fresh);
  }
}

const popup = document.getElementById("cancelled");
function tellCancelled(events) {
  const list = popup.querySelector("ul");
  const shown = new Set([...list.children].map((line) => line.dataset.id));
  const added = events.filter((event) => !shown.has(event.dataset.id));
  list.append(...added.map((event) => event.cloneNode(true)));
  if (!added.length) {
    return;
  }
  beep(CANCELLED);
  if (!popup.open) {
    popup.showModal();
  }
}
popup.addEventListener("close", () => {
  // It comes a moment after the closing, and something new may be shown by then.
  if (popup.open) {
    return;
  }
  const known = kept("waimai.cancelled");
  for (const line of popup.querySelectorAll("li")) {
    known.add(line.dataset.id);
  }
  keep("waimai.cancelled", known);
  popup.querySelector("ul").replaceChildren();
});

// Browsers are silent until somebody has touched the page once.
function offerSound() {
  button.hidden = false;
  const on = audio?.state === "running";
  button.textContent = on ? button.dataset.on : button.dataset.off;
  button.setAttribute("aria-pressed", String(on));
  button.classList.toggle("primary", !on);
}
async function startSound() {
  if (!audio) {
    audio = new AudioContext();
    // A call or a sleeping device may silence it.
    audio.addEventListener("statechange", offerSound);
  }
  await audio.resume();
  offerSound();
}
button.addEventListener("click", async () => {
  silenced = audio?.state === "running";
  if (silenced) {
    await audio.suspend();
    offerSound();
  } else {
    await startSound();
    beep(REMINDER);
  }
});
document.addEventListener("click", (event) => {
  if (!silenced && audio?.state !== "running" && !button.contains(event.target)) {
    startSound();
  }
});
offerSound();
hear(live());

// --- keys ---

const keys = document.getElementById("keys");
function step(by) {
  const cards = [...document.querySelectorAll("#live [data-order]")];
  const at = cards.indexOf(document.activeElement.closest("[data-order]"));
  cards.at(at < 0 && by < 0 ? -1 : (at + by) % cards.length)?.focus();
}
document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input, select, textarea");
  if (typing || event.repeat || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) {
    return;
  }
  const key = event.key.toLowerCase();
  if (key === "?") {
    keys.showModal();
  } else if (key === "j" || key === "k") {
    step(key === "j" ? 1 : -1);
  } else {
    const card = event.target.closest("[data-order]") ?? document.querySelector("#live [data-order]");
    card?.querySelector(`[data-key="${key}"]`)?.click();
  }
});
document.getElementById("shop")?.addEventListener("change", (event) => event.target.form.requestSubmit());
