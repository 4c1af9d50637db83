/** What lies over the pictures: playhead, looped region, axes; and the pointer that seeks and marks a region. */

import { HIGH_HZ, LOW_HZ } from "./room_fft.js";
import { byId, element } from "./room_dom.js";
import { timeText } from "./room_text.js";

const DRAG_PX = 6;
const LABELS_HZ = [100, 250, 500, 1000, 2000, 4000, 8000];
const STEPS_S = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30];

export class Stage {
  #duration = 0;
  #drag = null;
  #loop = null;

  /** `onseek(seconds)` and `onregion(start_s, end_s)` are told in seconds of the passage. */
  constructor({ onseek, onregion }) {
    this.plot = byId("plot");
    this.playhead = byId("playhead");
    this.region = byId("region");
    this.onseek = onseek;
    this.onregion = onregion;
    this.plot.addEventListener("pointerdown", (event) => this.#down(event));
    this.plot.addEventListener("pointermove", (event) => this.#move(event));
    this.plot.addEventListener("pointerup", (event) => this.#up(event));
    this.plot.addEventListener("pointercancel", () => this.#dropped());
    this.#labelFrequencies();
  }

  setPassage(start_s, duration_s) {
    this.#duration = duration_s;
    const room = Math.max(2, Math.floor(this.plot.clientWidth / 80));
    const step = STEPS_S.find((one) => duration_s / one <= room) ?? 60;
    const times = byId("times");
    times.replaceChildren();
    const last = start_s + 0.96 * duration_s;
    for (let at = Math.ceil(start_s / step) * step; at <= last; at += step) {
      const label = element("span", {}, timeText(at, step < 1 ? 1 : 0));
      label.style.left = `${(100 * (at - start_s)) / duration_s}%`;
      times.append(label);
    }
  }

  setPosition(seconds) {
    const share = this.#duration ? Math.min(1, seconds / this.#duration) : 0;
    this.playhead.style.left = `${100 * share}%`;
  }

  setRegion(loop) {
    this.#loop = loop;
    this.#drawRegion(loop);
  }

  #drawRegion(loop) {
    this.region.hidden = !loop;
    if (!loop) return;
    this.region.style.left = `${(100 * loop.start_s) / this.#duration}%`;
    this.region.style.width = `${(100 * (loop.end_s - loop.start_s)) / this.#duration}%`;
  }

  #labelFrequencies() {
    for (const hz of LABELS_HZ) {
      const label = element("span", {}, hz >= 1000 ? `${hz / 1000}k` : String(hz));
      label.style.bottom = `${(100 * Math.log(hz / LOW_HZ)) / Math.log(HIGH_HZ / LOW_HZ)}%`;
      byId("frequencies").append(label);
    }
  }

  #seconds(event) {
    const box = this.plot.getBoundingClientRect();
    return this.#duration * Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
  }

  /** A drag marks a region; one that begins at an edge of the region moves that edge. */
  #down(event) {
    if (event.button !== 0 || !this.#duration) return;
    this.plot.setPointerCapture(event.pointerId);
    const at = this.#seconds(event);
    const edge = event.target.closest?.(".edge");
    const box = this.region.getBoundingClientRect();
    const plot = this.plot.getBoundingClientRect();
    const share = edge?.classList.contains("start") ? (box.right - plot.left) / plot.width : (box.left - plot.left) / plot.width;
    this.#drag = { x: event.clientX, anchor: edge ? share * this.#duration : at, isMoved: false };
  }

  #move(event) {
    const drag = this.#drag;
    if (!drag) return;
    drag.isMoved ||= Math.abs(event.clientX - drag.x) > DRAG_PX;
    if (drag.isMoved) this.#drawRegion(this.#marked(event));
  }

  /** A finger that scrolls the page after all marks nothing. */
  #dropped() {
    this.#drag = null;
    this.#drawRegion(this.#loop);
  }

  #up(event) {
    const drag = this.#drag;
    if (!drag) return;
    const { start_s, end_s } = this.#marked(event);
    this.#drag = null;
    if (drag.isMoved) this.onregion(start_s, end_s);
    else this.onseek(this.#seconds(event));
  }

  #marked(event) {
    const at = this.#seconds(event);
    return { start_s: Math.min(at, this.#drag.anchor), end_s: Math.max(at, this.#drag.anchor) };
  }
}
