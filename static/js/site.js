// Small conveniences; every page works without them.
"use strict";

// Seconds left, counted by this device's own steady clock from when the page came.
const ends = new WeakMap();

function tick() {
  for (const element of document.querySelectorAll("[data-seconds-left]")) {
    if (!ends.has(element)) {
      ends.set(element, performance.now() + 1000 * Number(element.dataset.secondsLeft));
    }
    const left = Math.max(0, Math.ceil((ends.get(element) - performance.now()) / 1000));
    element.textContent = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
  }
}

tick();
setInterval(tick, 1000);
document.addEventListener("htmx:afterSwap", tick);

// A code was just sent: the button counts down until the next may be asked for.
const again = document.querySelector("[data-resend-after]");
if (again && document.querySelector("[data-code-sent]")) {
  const said = again.textContent.trim();
  const end = performance.now() + 1000 * Number(again.dataset.resendAfter);
  const count = () => {
    const left = Math.ceil((end - performance.now()) / 1000);
    again.disabled = left > 0;
    again.textContent = left > 0 ? `${said} (${left})` : said;
    if (left > 0) {
      setTimeout(count, 250);
    }
  };
  count();
}

// A click that came to nothing says so; a poll that did is simply tried again.
for (const name of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) {
  document.addEventListener(name, (event) => {
    if (event.detail.requestConfig.verb !== "get") {
      document.getElementById("request-failed").hidden = false;
    }
  });
}
document.addEventListener("htmx:beforeRequest", (event) => {
  if (event.detail.requestConfig.verb !== "get") {
    document.getElementById("request-failed").hidden = true;
  }
});

// What was refused may stand far from what was pressed: the first wrong field comes into sight.
document.addEventListener("htmx:afterSwap", ({ target }) => {
  target.querySelector("[aria-invalid=true]")?.focus();
});

// An order's page follows by a stream where it gets one, and asks every few seconds where it doesn't.
let stream;
function follow() {
  const order = document.getElementById("order");
  if (!order?.dataset.live) {
    stream?.close();
  } else if (!stream && "EventSource" in window) {
    stream = new EventSource(order.dataset.live);
    for (const kind of ["status", "update"]) {
      stream.addEventListener(kind, () => htmx.trigger("#order", "news"));
    }
  }
}
follow();
document.addEventListener("htmx:afterSwap", follow);
document.addEventListener("htmx:beforeRequest", (event) => {
  const { elt, requestConfig } = event.detail;
  const waits = elt.id === "order" && requestConfig.triggeringEvent?.type !== "news";
  if (waits && stream?.readyState === EventSource.OPEN && !elt.dataset.till) {
    event.preventDefault();
  }
});

// Where the device can share, it does; elsewhere the link is opened and can be copied.
document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-share]");
  if (link && navigator.share) {
    event.preventDefault();
    navigator.share({ title: document.title, url: link.href }).catch(() => {});
  }
});

// A shop knows its delivery area by coordinates; the device knows where it is.
function offerLocation() {
  for (const button of document.querySelectorAll("[data-locate][hidden]")) {
    button.hidden = false;
    const failed = document.getElementById("locate-failed");
    button.addEventListener("click", () => {
      failed.hidden = true;
      navigator.geolocation.getCurrentPosition(
        ({ coords }) => {
          for (const name of ["latitude", "longitude"]) {
            const field = document.querySelector(`[name$=${name}]`);
            field.value = coords[name].toFixed(6);
            field.dispatchEvent(new Event("change", { bubbles: true }));
          }
        },
        () => {
          failed.textContent = failed.dataset.text;
          failed.hidden = false;
        },
        { timeout: 10_000 },
      );
    });
  }
}
if ("geolocation" in navigator) {
  offerLocation();
  document.addEventListener("htmx:afterSwap", offerLocation);
}
