// Play, pause, position and loop of the page's sounds.

import { byId, make, setText } from "./test_dom.js";
import { SHORTEST_LOOP_S } from "./player.js";

const STEP_S = 0.5;

const seconds = (value) => `${value.toFixed(1)} s`;

export class Transport {
  /** player: with all sounds loaded; names: Map of id -> what is said of it; onchange(): playing or selection changed;
   * signal: aborted when the page ends. */
  constructor(player, { names, onchange, signal }) {
    this.player = player;
    this.names = names;
    this.onchange = onchange;
    this.signal = signal;
    this.position = byId("position");
    this.position.max = String(player.duration);
    this.isDragging = false;
    this.reset();
    this.listen();
    this.draw();
  }

  reset() {
    this.from = 0;
    this.to = this.player.duration;
    this.player.setLoop(this.from, this.to);
    this.showLoop();
  }

  on(element, type, action) { element.addEventListener(type, action, { signal: this.signal }); }

  listen() {
    this.player.onchange = () => this.changed();
    this.on(byId("play"), "click", () => this.toggle());
    this.on(byId("loop-from"), "click", () => this.loopFrom());
    this.on(byId("loop-to"), "click", () => this.loopTo());
    this.on(byId("loop-all"), "click", () => this.reset());
    this.on(this.position, "pointerdown", () => { this.isDragging = true; });
    this.on(this.position, "change", () => { this.isDragging = false; });
    this.on(window, "pointerup", () => { this.isDragging = false; });
    this.on(this.position, "input", () => this.seek(this.position.valueAsNumber));
    this.on(this.position, "keydown", (event) => this.step(event));
    this.changed();
  }

  step(event) {
    const steps = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 };
    if (!(event.key in steps)) return;
    event.preventDefault();
    this.seek(this.player.position + steps[event.key] * STEP_S);
  }

  /** Inside of the loop: beyond it, playing would jump back at once. */
  seek(position_s) {
    this.player.seek(Math.min(Math.max(position_s, this.from), this.to));
    this.drawPosition();
  }

  toggle() { this.player.toggle(); }

  select(id) {
    this.player.select(id);
    if (!this.player.playing) this.player.play();
  }

  loopFrom() { this.setLoop(this.player.position, this.to); }

  loopTo() { this.setLoop(this.from, this.player.position); }

  setLoop(from, to) {
    if (to - from < SHORTEST_LOOP_S) return;
    this.from = from;
    this.to = to;
    this.player.setLoop(from, to);
    this.showLoop();
  }

  showLoop() {
    const { duration } = this.player;
    const isPart = this.from > 0 || this.to < duration;
    const region = byId("region");
    region.hidden = !isPart;
    region.style.left = `${(100 * this.from) / duration}%`;
    region.style.width = `${(100 * (this.to - this.from)) / duration}%`;
    setText(byId("loop-text"), isPart ? `Looping ${seconds(this.from)} to ${seconds(this.to)}` : "");
  }

  changed() {
    const { playing, selected } = this.player;
    byId("play").setAttribute("aria-pressed", String(playing));
    setText(byId("play-text"), playing ? "Pause" : "Play");
    setText(byId("play").querySelector(".mark"), playing ? "❚❚" : "▶");
    byId("reference").setAttribute("aria-pressed", String(selected === "reference"));
    setText(byId("reference").querySelector(".mark"), playing && selected === "reference" ? "▶" : "");
    setText(byId("now-playing"), `${playing ? "Playing" : "Selected"}: ${this.names.get(selected)}`);
    this.onchange();
  }

  draw() {
    if (this.signal.aborted) return;
    this.drawPosition();
    requestAnimationFrame(() => this.draw());
  }

  drawPosition() {
    const { position, duration, playing } = this.player;
    if (!this.isDragging) this.position.value = String(position);
    setText(byId("clock"), `${seconds(position)} of ${seconds(duration)}`);
    // While it plays the value changes all the time; a screen reader is told the place only when it rests.
    if (!playing) this.position.setAttribute("aria-valuetext", `${seconds(position)} of ${seconds(duration)}`);
  }
}

/** The table of keys below a trial. */
export function showKeys({ labels, hasReference }) {
  const keys = [
    [labels.map((label, i) => `${label} or ${i + 1}`).join(", "), "play this stimulus and go to its slider"],
    ...(hasReference ? [["R", "play the reference"]] : []),
    ["Space", "play or pause"],
    ["Arrows, Page up, Page down", "move the slider in focus"],
    ["Enter", "on a slider: rate as it stands"],
    ["[, ], \\", "loop from here, loop to here, loop all"],
  ];
  byId("keys").replaceChildren(...keys.flatMap(([key, what]) => [make("dt", {}, key), make("dd", {}, what)]));
}
