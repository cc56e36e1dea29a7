// The menu: the rail follows the scroll, the search needs no round trip, dishes and the cart open over it.
"use strict";

const rail = new Map([...document.querySelectorAll(".categories a")].map((link) => [link.hash.slice(1), link]));
const visible = new Set();
const observer = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      visible[isIntersecting ? "add" : "delete"](target.id);
    }
    const current = [...rail.keys()].find((id) => visible.has(id));
    for (const [id, link] of rail) {
      if (id !== current) {
        link.removeAttribute("aria-current");
      } else if (!link.hasAttribute("aria-current")) {
        link.setAttribute("aria-current", "true");
        const list = link.closest("ul");
        list.scrollTo({ left: link.offsetLeft - list.clientWidth / 3, top: link.offsetTop - list.clientHeight / 3 });
      }
    }
  },
  { rootMargin: "-20% 0px -60% 0px" },
);
for (const section of document.querySelectorAll(".category")) {
  observer.observe(section);
}

const search = document.getElementById("search");
function filter() {
  const wanted = search.value.trim().toLowerCase();
  let found = 0;
  for (const section of document.querySelectorAll(".category")) {
    let here = 0;
    for (const item of section.querySelectorAll(".item")) {
      item.hidden = !item.querySelector(".about").textContent.toLowerCase().includes(wanted);
      here += !item.hidden;
    }
    section.hidden = here === 0;
    rail.get(section.id).parentElement.hidden = here === 0;
    found += here;
  }
  document.getElementById("nothing-found").hidden = found > 0 || !wanted;
}
if (search) {
  search.form.addEventListener("submit", (event) => event.preventDefault());
  search.form.querySelector("button").hidden = true;
  search.addEventListener("input", filter);
}

const sheet = document.getElementById("sheet");
document.addEventListener("htmx:afterSwap", ({ detail }) => {
  if (sheet && detail.target.id === "sheet-body") {
    if (!sheet.open) {
      sheet.showModal();
    }
    prepare(sheet);
  }
});
// What was chosen is in the cart, or the bar under the menu says why not.
document.addEventListener("htmx:afterRequest", ({ detail }) => {
  if (sheet?.open && detail.elt.matches(".order-item") && detail.xhr.status) {
    sheet.close();
  }
});
sheet?.addEventListener("click", (event) => {
  if (event.target === sheet) {
    sheet.close();
  }
});

// How many of a dish there shall be is counted here, at once. One request is on its way at a time: presses meanwhile go together
// in the next, and an older answer doesn't overwrite what is still to be sent.
const isPending = ({ dataset }) => Boolean(dataset.wanted) && dataset.wanted !== dataset.sent;
let isSending = false;
let leavingFor = "";

function send() {
  const form = [...document.querySelectorAll("[data-quantity]")].find(isPending);
  if (isSending) {
    return;
  }
  if (form) {
    htmx.trigger(form, "send");
  } else if (leavingFor) {
    location.assign(leavingFor);
    leavingFor = "";
  }
}

// Nobody pays for less than what was pressed, because the rest was still to be sent.
document.addEventListener("click", (event) => {
  const link = event.target.closest("#cart-bar a.primary");
  if (link && isSending) {
    event.preventDefault();
    leavingFor = link.href;
  }
});

function show(form, quantity) {
  const isNew = form.dataset.adds !== undefined;
  const output = form.querySelector("output");
  output.hidden = isNew && quantity === 0;
  output.textContent = quantity;
  for (const button of form.querySelectorAll("[data-by]")) {
    const then = quantity + Number(button.dataset.by);
    // What was taken out comes back by "undo".
    button.disabled = then > 99 || (quantity === 0 && !isNew);
  }
}

function count(form, by) {
  form.dataset.sent ??= form.dataset.quantity;
  form.dataset.wanted = Number(form.dataset.wanted ?? form.dataset.quantity) + by;
  show(form, Number(form.dataset.wanted));
  send();
}

document.addEventListener("submit", (event) => {
  const { target, submitter } = event;
  if (target.matches("[data-quantity]") && submitter?.dataset.by) {
    event.preventDefault();
    count(target, Number(submitter.dataset.by));
  }
});

document.addEventListener("htmx:configRequest", ({ detail: { elt, parameters } }) => {
  if (elt.matches("[data-quantity]")) {
    const { wanted, sent, adds } = elt.dataset;
    parameters.quantity = adds === undefined ? wanted : wanted - sent;
    elt.dataset.sent = wanted;
  }
});

document.addEventListener("htmx:beforeRequest", ({ detail: { elt, xhr } }) => {
  if (elt.matches("[data-quantity]")) {
    const { wanted } = elt.dataset;
    isSending = true;
    // Of a form that has left the page htmx tells nobody.
    xhr.addEventListener("loadend", () => {
      isSending = false;
      if (xhr.status >= 200 && xhr.status < 300) {
        elt.dataset.quantity = wanted;
      } else {
        leavingFor = "";
        delete elt.dataset.wanted;
        delete elt.dataset.sent;
        show(elt, Number(elt.dataset.quantity));
      }
      send();
    });
  }
});

const hasPending = (part) => [...part.querySelectorAll("[data-quantity]")].some(isPending);
document.addEventListener("htmx:oobBeforeSwap", ({ detail }) => {
  detail.shouldSwap &&= !hasPending(detail.target);
});
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  if (hasPending(detail.target)) {
    // The bar and the menu behind the sheet, which come with the answer, are up to date all the same.
    detail.swapOverride = "none";
  }
});

// One dish: steps, no more choices than allowed, and what it comes to.
function prepare(root) {
  for (const form of root.querySelectorAll(".order-item")) {
    const quantity = form.elements.namedItem("quantity");
    for (const step of form.querySelectorAll("[data-step]")) {
      step.hidden = false;
      step.addEventListener("click", () => {
        quantity.value = Math.min(99, Math.max(1, Number(quantity.value) + Number(step.dataset.step)));
        addUp(form);
      });
    }
    form.addEventListener("input", () => addUp(form));
    addUp(form);
  }
}

function addUp(form) {
  let cents = Math.round(100 * form.dataset.price);
  for (const group of form.querySelectorAll(".group")) {
    const boxes = [...group.querySelectorAll("[type=checkbox]")];
    const full = boxes.filter((box) => box.checked).length >= Number(group.dataset.max);
    for (const box of boxes) {
      box.disabled = full && !box.checked;
    }
    for (const chosen of group.querySelectorAll(":checked")) {
      cents += Math.round(100 * (chosen.dataset.price ?? 0));
    }
  }
  const sum = (Math.max(0, cents) * Math.max(1, Number(form.elements.namedItem("quantity").value))) / 100;
  form.querySelector("[data-sum]").textContent = `¥${sum.toFixed(2)}`;
}

prepare(document);
