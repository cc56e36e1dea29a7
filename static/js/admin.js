"use strict";

// Names for the fields that one searches in: select2 names them by what is chosen, which may be nothing.
{
  const fresh = ".select2-selection:not([aria-label])";

  const name = (box) => {
    const select = box.closest(".select2-container").previousElementSibling;
    const chosen = box.querySelector(".select2-selection__rendered");
    box.setAttribute("aria-label", select.ariaLabel || select.labels[0]?.textContent.trim() || select.name);
    // No text field in a field: what is chosen is read after the name.
    chosen.removeAttribute("role");
    chosen.removeAttribute("aria-readonly");
    box.id = `${chosen.id}-box`;
    box.setAttribute("aria-labelledby", `${box.id} ${chosen.id}`);
  };

  new MutationObserver(() => document.querySelectorAll(fresh).forEach(name)).observe(document.documentElement, {
    childList: true,
    subtree: true,
  });

  document.addEventListener("focusin", ({ target }) => {
    const box = document.querySelector(".select2-container--open .select2-selection");
    if (box && target.matches(".select2-search__field")) target.setAttribute("aria-label", box.ariaLabel);
  });
}
