// Small helpers for building pages; data only ever enters as text.

export const byId = (id) => document.getElementById(id);

/** An element with attributes and children; `text` children are strings. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === false) continue;
    element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children);
  return element;
}

/** Replaces the children of an element by one paragraph for each block of text between empty lines. */
export function fillWithParagraphs(element, text) {
  const blocks = String(text ?? "").split(/\n\s*\n/).map((block) => block.trim()).filter(Boolean);
  element.replaceChildren(...blocks.map((block) => make("p", {}, block)));
}

/** Sets the text only when it differs, so that a live region speaks no more than it must. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Speaks to screen readers. */
export function announce(text) {
  const region = byId("announce");
  region.textContent = "";
  // A region that is emptied and filled in one task may stay silent.
  setTimeout(() => { region.textContent = text; }, 30);
}

/** Shows one view of the page and moves the focus to its heading. */
export function showView(name) {
  for (const view of document.querySelectorAll(".panel-view")) view.hidden = view.id !== `view-${name}`;
  const heading = document.querySelector(`#view-${name} h2`);
  window.scrollTo(0, 0);
  heading.focus({ preventScroll: true });
}

/** A button that cannot be used yet stays in the focus order, so that its reason can be heard. */
export function allow(button, allowed) { button.setAttribute("aria-disabled", String(!allowed)); }

export const isAllowed = (button) => button.getAttribute("aria-disabled") !== "true";
