/** Keys of the whole page. A key that the focused control uses itself is left to it. */

import { byId } from "./room_dom.js";

const TYPED = 'input[type="number"], input[type="text"], select, textarea, [contenteditable]';

/** Letters, digits and signs can be switched off: who speaks to a computer, or touches keys by accident, needs that. */
const KEPT = "listening-room-single-keys";

function offerSwitch(box) {
  box.checked = localStorage.getItem(KEPT) !== "off";
  box.addEventListener("change", () => localStorage.setItem(KEPT, box.checked ? "on" : "off"));
}

function isTaken(event, target) {
  // Where [ is typed with AltGr, that reads as Ctrl and Alt on some systems.
  const isCommand = (event.ctrlKey || event.metaKey || event.altKey) && !event.getModifierState("AltGraph");
  if (isCommand || event.isComposing || event.defaultPrevented) return true;
  if (document.querySelector("dialog[open]") || target.closest(TYPED)) return true;
  if (event.key === " ") return Boolean(target.closest('button, a, summary, input:not([type="radio"]), [role="slider"]'));
  return event.key.startsWith("Arrow") && Boolean(target.closest('input, [role="slider"]'));
}

/** What a key means. Up and down scroll the page, so they switch versions only where the player has the focus. */
function meaning(event, target) {
  const { key, shiftKey } = event;
  if (/^[1-9]$/.test(key)) return ["version", Number(key)];
  if (key === "ArrowLeft" || key === "ArrowRight") return ["seek", (key === "ArrowLeft" ? -1 : 1) * (shiftKey ? 5 : 1)];
  if ((key === "ArrowUp" || key === "ArrowDown") && target.closest("#player")) return ["step", key === "ArrowUp" ? -1 : 1];
  const plain = { " ": "toggle", l: "loop", m: "matched", b: "former", "[": "loopFrom", "]": "loopTo", "?": "help" };
  const name = plain[key.toLowerCase()];
  return name ? [name] : null;
}

/** @param {Record<string, Function>} actions by name: version, seek, step, toggle, loop, matched, former ... */
export function listenToKeys(actions) {
  const singleKeys = byId("single-keys");
  offerSwitch(singleKeys);
  document.addEventListener("keydown", (event) => {
    const target = event.target instanceof Element ? event.target : document.body;
    if (isTaken(event, target) || (!singleKeys.checked && /^\S$/.test(event.key))) return;
    const found = meaning(event, target);
    if (!found) return;
    event.preventDefault();
    const [name, ...values] = found;
    actions[name](...values);
  });
}
