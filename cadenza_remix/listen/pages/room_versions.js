/** The list of versions: one radio group over all groups, so that arrow keys go through all of them. */

import { byId, element } from "./room_dom.js";
import { levelText } from "./room_text.js";

const FOLDED = /^(stem|separated|clean|remix:clean):/;

export class VersionList {
  #rows = new Map();
  #chosen = null;

  /** `notes`: a few words for some versions, by their ids. */
  constructor(notes, onchoose) {
    this.notes = notes;
    this.root = byId("versions");
    this.versions = [];
    this.root.addEventListener("change", (event) => onchoose(event.target.value));
    // The one that is chosen does not change: what failed is tried again by a click all the same.
    this.root.addEventListener("click", ({ target }) => {
      const row = this.#rows.get(this.#chosen);
      if (target === row?.input && row.label.dataset.state === "failed") onchoose(this.#chosen);
    });
    // What somebody unfolds is shown, where the list scrolls.
    const unfolded = ({ target }) => target.open && target.contains(document.activeElement) && target.scrollIntoView({ block: "nearest" });
    this.root.addEventListener("toggle", unfolded, { capture: true });
  }

  /** Show versions by their groups. Groups of many parts are folded up unless the chosen version is in them. */
  show(versions, chosen, passage) {
    const open = new Set([...this.root.querySelectorAll("details[open]")].map((one) => one.dataset.group));
    this.versions = versions;
    this.#chosen = chosen;
    this.#rows.clear();
    const groups = Map.groupBy ? Map.groupBy(versions, (one) => one.group) : groupedBy(versions);
    let number = 0;
    const made = [...groups].map(([name, members]) => {
      const rows = members.map((version) => this.#row(version, (number += 1), chosen, passage));
      const list = element("div", { class: "rows" }, ...rows);
      if (!members.every(({ id }) => FOLDED.test(id))) {
        return element("div", { class: "group" }, element("h3", {}, name), list);
      }
      const isOpen = open.has(name) || members.some(({ id }) => id === chosen);
      const count = element("span", { class: "hint" }, `${members.length}`);
      const summary = element("summary", {}, element("span", {}, name), count);
      return element("details", { class: "group", open: isOpen, "data-group": name }, summary, list);
    });
    this.root.replaceChildren(...made);
  }

  label(id) {
    return this.versions.find((one) => one.id === id)?.label ?? id;
  }

  group(id) {
    return this.versions.find((one) => one.id === id)?.group ?? "";
  }

  choose(id) {
    const row = this.#rows.get(id);
    if (!row) return;
    this.#chosen = id;
    row.input.checked = true;
    const folded = row.input.closest("details");
    if (folded) folded.open = true;
  }

  /** "loading", "loaded" with its loudness, "waiting" for a server that is gone, or "failed". */
  mark(id, state, loudness_lufs = null) {
    const row = this.#rows.get(id);
    if (!row) return;
    row.label.dataset.state = state;
    const loaded = `${levelText(loudness_lufs)} LUFS`;
    row.note.textContent = { loading: "loading …", waiting: "waiting", failed: "failed", loaded }[state] ?? "";
  }

  #row(version, number, chosen, passage) {
    const input = element("input", { type: "radio", name: "version", value: version.id, checked: version.id === chosen });
    const note = element("span", { class: "note" });
    const key = number <= 9 ? element("kbd", { "aria-hidden": "true" }, String(number)) : null;
    const covers = version.start_s <= passage.start_s + 0.01 && version.end_s >= passage.end_s - 0.01;
    const part = covers ? null : `${version.start_s.toFixed(0)}–${version.end_s.toFixed(0)} s only`;
    const hint = [this.notes.get(version.id), part].filter(Boolean).join("; ");
    const name = element("span", { class: "name" }, version.label);
    if (hint) name.append(element("span", { class: "hint" }, hint));
    const label = element("label", { class: "version" }, input, name, note, key);
    this.#rows.set(version.id, { input, label, note });
    return label;
  }
}

function groupedBy(versions) {
  const groups = new Map();
  for (const version of versions) groups.set(version.group, [...(groups.get(version.group) ?? []), version]);
  return groups;
}
