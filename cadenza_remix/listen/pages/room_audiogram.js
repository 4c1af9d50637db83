/**
 * The audiogram editor: one graph for each ear with clinical axes, its points moved by pointer or keys, and a table.
 *
 * Each graph is one stop of the tab key; arrows left and right go from frequency to frequency, up and down move the point.
 */

import { byId, debounced, drawn, element, option, tell } from "./room_dom.js";
import { degreeText, frequencyText } from "./room_text.js";

const WIDTH = 340;
const HEIGHT = 270;
const EDGE = { left: 40, right: 14, top: 30, bottom: 14 };
const LEVELS = { from: -10, to: 120 };
const AXIS_HZ = [250, 500, 1000, 2000, 4000, 8000];
const OCTAVES = { from: Math.log2(200), to: Math.log2(10000) };
const SETTLED_MS = 250;
const DRAWN = "drawn";
const EARS = [
  { ear: "right", title: "Right ear", mark: "circle" },
  { ear: "left", title: "Left ear", mark: "cross" },
];

const x = (hz) => EDGE.left + ((Math.log2(hz) - OCTAVES.from) / (OCTAVES.to - OCTAVES.from)) * (WIDTH - EDGE.left - EDGE.right);
const y = (db) => EDGE.top + ((db - LEVELS.from) / (LEVELS.to - LEVELS.from)) * (HEIGHT - EDGE.top - EDGE.bottom);
const limited = (db) => Math.min(LEVELS.to, Math.max(LEVELS.from, db));
const copied = ({ frequencies_hz, levels_db_hl }) => ({ frequencies_hz: [...frequencies_hz], levels_db_hl: [...levels_db_hl] });

function symbol(mark) {
  if (mark === "circle") return drawn("circle", { r: 7, class: "mark" });
  return drawn("path", { d: "M-6-6 6 6M6-6-6 6", class: "mark" });
}

export class AudiogramEditor {
  #ears = {};
  #parts = { left: [], right: [] };
  #lines = {};
  #settled;

  /** `onedit({left, right})` is called when an edit has come to rest. */
  constructor({ standards, onedit }) {
    this.standards = standards;
    this.#settled = debounced(SETTLED_MS, () => onedit(this.value));
    const asDrawn = option(DRAWN, "as drawn");
    asDrawn.hidden = true; // shown when it is so, and nothing to begin from
    byId("standard").append(option("", "the listener's own"), asDrawn, ...standards.map(({ id }) => option(id, id)));
    byId("standard").addEventListener("change", (event) => this.#standard(event.target.value));
    byId("same-ears").addEventListener("click", () => {
      byId("standard").value = DRAWN;
      this.#edit({ left: copied(this.#ears.right), right: this.#ears.right });
    });
  }

  get value() {
    return { left: copied(this.#ears.left), right: copied(this.#ears.right) };
  }

  /** Show a listener's, in place of any edit that has not come to rest. */
  show(listener) {
    this.#settled.cancel();
    this.#show(listener);
  }

  /** The points stay where they are while the same frequencies are shown, so that focus is kept. */
  #show(listener) {
    const isSame = ["left", "right"].every((ear) => String(this.#ears[ear]?.frequencies_hz) === String(listener[ear].frequencies_hz));
    this.#ears = { left: copied(listener.left), right: copied(listener.right) };
    if (!isSame) this.#build();
    this.#place();
  }

  /** What "the listener's own" goes back to. */
  setOwn(listener) {
    this.own = listener;
    byId("standard").value = "";
  }

  /** A listener that was drawn before. */
  showDrawn(listener) {
    this.show(listener);
    byId("standard").value = DRAWN;
  }

  #standard(id) {
    const chosen = this.standards.find((one) => one.id === id);
    this.#edit(chosen ? { left: copied(chosen), right: copied(chosen) } : { left: this.own.left, right: this.own.right });
  }

  #edit(ears) {
    this.#show(ears);
    this.#settled();
  }

  #build() {
    byId("ears").replaceChildren(...EARS.map((one) => this.#graph(one)));
    byId("numbers").replaceChildren(this.#table());
  }

  #graph({ ear, title, mark }) {
    const line = drawn("polyline", { class: "line" });
    const points = this.#ears[ear].frequencies_hz.map((hz, place) => this.#point(ear, title, mark, hz, place));
    this.#lines[ear] = line;
    this.#parts[ear] = points.map((point) => ({ point }));
    const picture = drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "group", "aria-label": `${title}, audiogram` });
    picture.append(this.#axes(), line, ...points);
    this.#listenToPointer(picture, ear);
    return element("figure", { class: `ear ${ear}` }, element("figcaption", {}, mark === "circle" ? `○ ${title}` : `✕ ${title}`), picture);
  }

  #axes() {
    const axes = drawn("g", { class: "axes", "aria-hidden": "true" });
    for (let db = 0; db <= LEVELS.to; db += 20) {
      axes.append(drawn("line", { x1: EDGE.left, x2: WIDTH - EDGE.right, y1: y(db), y2: y(db), class: db === 0 ? "zero" : "" }));
      axes.append(drawn("text", { x: EDGE.left - 6, y: y(db) + 4, "text-anchor": "end" }, String(db)));
    }
    for (const hz of AXIS_HZ) {
      axes.append(drawn("line", { x1: x(hz), x2: x(hz), y1: EDGE.top, y2: HEIGHT - EDGE.bottom }));
      axes.append(drawn("text", { x: x(hz), y: EDGE.top - 8, "text-anchor": "middle" }, hz >= 1000 ? `${hz / 1000}k` : String(hz)));
    }
    axes.append(drawn("text", { x: 2, y: 12 }, "dB HL"));
    return axes;
  }

  #point(ear, title, mark, hz, place) {
    const point = drawn("g", {
      class: "point",
      role: "slider",
      tabindex: place === 0 ? 0 : -1,
      "aria-label": `${title}, ${frequencyText(hz)}`,
      "aria-orientation": "vertical",
      "aria-valuemin": LEVELS.from,
      "aria-valuemax": LEVELS.to,
      "aria-describedby": "ears-hint",
      "data-place": place,
    });
    point.append(drawn("circle", { r: 15, class: "reach" }), symbol(mark));
    point.addEventListener("keydown", (event) => this.#key(event, ear, place));
    point.addEventListener("focus", () => this.#stopAt(ear, place));
    return point;
  }

  #stopAt(ear, place) {
    this.#parts[ear].forEach(({ point }, i) => point.setAttribute("tabindex", i === place ? 0 : -1));
  }

  #key(event, ear, place) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const last = this.#parts[ear].length - 1;
    const to = { ArrowLeft: place - 1, ArrowRight: place + 1, Home: 0, End: last }[event.key];
    const step = { ArrowUp: event.shiftKey ? -1 : -5, ArrowDown: event.shiftKey ? 1 : 5, PageUp: -20, PageDown: 20 }[event.key];
    if (to === undefined && step === undefined) return;
    event.preventDefault();
    if (to === undefined) this.#set(ear, place, this.#ears[ear].levels_db_hl[place] + step);
    else this.#parts[ear][Math.min(last, Math.max(0, to))].point.focus();
  }

  #listenToPointer(picture, ear) {
    let held = null;
    picture.addEventListener("pointerdown", (event) => {
      const point = event.target.closest(".point");
      if (!point || event.button !== 0) return;
      event.preventDefault();
      held = Number(point.dataset.place);
      point.focus();
      picture.setPointerCapture(event.pointerId);
    });
    picture.addEventListener("pointermove", (event) => {
      if (held === null) return;
      const box = picture.getBoundingClientRect();
      const at = ((event.clientY - box.top) / box.height) * HEIGHT;
      const db = LEVELS.from + ((at - EDGE.top) / (HEIGHT - EDGE.top - EDGE.bottom)) * (LEVELS.to - LEVELS.from);
      this.#set(ear, held, 5 * Math.round(db / 5));
    });
    for (const name of ["pointerup", "pointercancel"]) picture.addEventListener(name, () => (held = null));
  }

  #set(ear, place, db) {
    const level = limited(db);
    if (level === this.#ears[ear].levels_db_hl[place]) return;
    this.#ears[ear].levels_db_hl[place] = level;
    byId("standard").value = DRAWN;
    this.#place();
    this.#settled();
  }

  #table() {
    const head = element("tr", {}, element("th", { scope: "col" }, "Frequency"), element("th", { scope: "col" }, "Right, dB HL"), element("th", { scope: "col" }, "Left, dB HL"));
    const places = this.#ears.right.frequencies_hz.length;
    const rows = Array.from({ length: places }, (_, place) => {
      const hz = this.#ears.right.frequencies_hz[place];
      const cells = EARS.map(({ ear, title }) => element("td", {}, this.#number(ear, title, hz, place)));
      return element("tr", {}, element("th", { scope: "row" }, frequencyText(hz)), ...cells);
    });
    return element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows));
  }

  #number(ear, title, hz, place) {
    const input = element("input", { type: "number", min: LEVELS.from, max: LEVELS.to, step: "any", "aria-label": `${title}, ${frequencyText(hz)}, dB HL` });
    if (this.#parts[ear][place]) this.#parts[ear][place].input = input;
    input.addEventListener("change", () => {
      const isTaken = input.value !== "" && input.validity.valid;
      const found = input.validity.badInput || input.value === "" ? "no number" : input.value;
      const line = `${title}, ${frequencyText(hz)}: expected ${LEVELS.from} to ${LEVELS.to} dB HL, found ${found}`;
      tell(byId("audiogram-error"), isTaken ? null : line);
      if (isTaken) this.#set(ear, place, Number(input.value));
      else this.#place();
    });
    return input;
  }

  #place() {
    for (const { ear } of EARS) {
      const { frequencies_hz, levels_db_hl } = this.#ears[ear];
      this.#lines[ear].setAttribute("points", frequencies_hz.map((hz, i) => `${x(hz)},${y(limited(levels_db_hl[i]))}`).join(" "));
      this.#parts[ear].forEach(({ point, input }, i) => {
        const db = levels_db_hl[i];
        point.setAttribute("transform", `translate(${x(frequencies_hz[i])} ${y(limited(db))})`);
        point.setAttribute("aria-valuenow", db);
        point.setAttribute("aria-valuetext", `${db} dB HL, ${degreeText(db)}`);
        if (input) input.value = db;
      });
    }
  }
}
