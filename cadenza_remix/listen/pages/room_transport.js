/** Playing: button, clock, position, loop, volume, meters. Knows the player and the passage's place in the song. */

import { byId } from "./room_dom.js";
import { Meters } from "./room_meter.js";
import { Stage } from "./room_stage.js";
import { SHORTEST_LOOP_S } from "./player.js";
import { decibels, levelText, timeText } from "./room_text.js";

export class Transport {
  #player;
  #stage;
  #meters;
  #start_s = 0;
  #isDrawing = false;
  /** Looped, or to be looped next. */
  #region = { start_s: 0, end_s: 0 };

  /** `onsay(text)` is told what a screen reader should say, `onerror(line)` what cannot be done. */
  constructor(player, { onsay, onerror }) {
    this.#player = player;
    this.onsay = onsay;
    this.onerror = onerror;
    this.#stage = new Stage({ onseek: (at) => player.seek(at), onregion: (from, to) => this.#mark(from, to) });
    this.#meters = new Meters(player.context, player.output, byId("meters"));
    byId("play").addEventListener("click", () => this.toggle());
    byId("loop").addEventListener("click", () => this.toggleLoop());
    byId("position").addEventListener("input", ({ target }) => player.seek(Number(target.value)));
    byId("volume").addEventListener("input", () => this.#setVolume());
    byId("loop-start").addEventListener("change", () => this.#typed("loop-start", (at) => this.#from(at)));
    byId("loop-end").addEventListener("change", () => this.#typed("loop-end", (at) => this.#to(at)));
    addEventListener("resize", () => this.#stage.setPassage(this.#start_s, this.duration_s));
    // The browser, or a call that comes in, may hold the sound back: then it does not play, whatever was pressed.
    player.context.addEventListener("statechange", () => this.changed());
    this.#setVolume();
  }

  setPassage(start_s, duration_s) {
    this.#start_s = start_s;
    this.duration_s = duration_s;
    byId("position").max = duration_s;
    byId("clock-end").textContent = `of ${timeText(start_s)}–${timeText(start_s + duration_s)}`;
    for (const name of ["loop-start", "loop-end"]) {
      Object.assign(byId(name), { min: start_s, max: (start_s + duration_s).toFixed(2) });
    }
    this.#writeLoop({ start_s: 0, end_s: duration_s });
    this.#stage.setPassage(start_s, duration_s);
    this.changed();
  }

  toggle() {
    this.#player.toggle().catch(() => this.onerror("The browser has ended the sound of this page: load it again."));
  }

  /** The region last marked, at first the whole passage. */
  toggleLoop() {
    if (this.#player.loop) {
      this.#player.clearLoop();
      this.onsay("Loop off");
      return;
    }
    this.#mark(this.#region.start_s, this.#region.end_s);
  }

  loopFrom() {
    this.#from(this.#player.position);
  }

  loopTo() {
    this.#to(this.#player.position);
  }

  seekBy(seconds) {
    this.#player.seek(this.#player.position + seconds);
  }

  /** Show how the player stands, and go on showing it while anything moves. */
  changed() {
    const player = this.#player;
    const isHeard = player.playing && !player.isHeld;
    byId("play").classList.toggle("playing", isHeard);
    byId("play-word").textContent = isHeard ? "Pause" : "Play";
    byId("play").disabled = player.ids.length === 0;
    byId("loop").setAttribute("aria-pressed", Boolean(player.loop));
    byId("loop").disabled = player.ids.length === 0;
    if (player.loop) this.#writeLoop(player.loop);
    this.#stage.setRegion(player.loop);
    if (!this.#isDrawing) this.#draw(performance.now());
  }

  #mark(from, to) {
    try {
      this.#player.setLoop(from, to);
      const { start_s, end_s } = this.#player.loop;
      if (this.#player.position < start_s) this.#player.seek(start_s);
      this.onsay(`Loop from ${timeText(this.#start_s + start_s)} to ${timeText(this.#start_s + end_s)}`);
      this.onerror(null);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      const [asked_from, asked_to] = [from, to].map((at) => timeText(this.#start_s + at, 2));
      this.onerror(`No loop from ${asked_from} to ${asked_to}: its end must be ${SHORTEST_LOOP_S} s or more behind its start`);
      this.#writeLoop(this.#region);
    }
    this.changed();
  }

  /** One edge of the loop; where the other one is in the way, it makes room. */
  #from(at) {
    const { end_s } = this.#region;
    this.#mark(at, end_s >= at + SHORTEST_LOOP_S ? end_s : this.#player.duration);
  }

  #to(at) {
    const { start_s } = this.#region;
    this.#mark(start_s <= at - SHORTEST_LOOP_S ? start_s : 0, at);
  }

  #typed(name, mark) {
    if (byId(name).value === "") this.#writeLoop(this.#region);
    else mark(Number(byId(name).value) - this.#start_s);
  }

  #writeLoop({ start_s, end_s }) {
    this.#region = { start_s, end_s };
    byId("loop-start").value = (this.#start_s + start_s).toFixed(2);
    byId("loop-end").value = (this.#start_s + end_s).toFixed(2);
  }

  #setVolume() {
    // The square: equal steps of the slider sound about equal.
    const lin = (Number(byId("volume").value) / 100) ** 2;
    this.#player.setVolume(lin);
    const text = lin > 0 ? `${levelText(decibels(lin))} dB` : "off";
    byId("volume-db").textContent = text;
    byId("volume").setAttribute("aria-valuetext", text);
  }

  #draw(now_ms) {
    const player = this.#player;
    const position = player.position;
    this.#stage.setPosition(position);
    byId("clock").textContent = timeText(this.#start_s + position);
    byId("position").value = position;
    byId("position").setAttribute("aria-valuetext", timeText(this.#start_s + position));
    const isLoud = this.#meters.draw(now_ms);
    this.#isDrawing = (player.playing && !player.isHeld) || isLoud;
    if (this.#isDrawing) requestAnimationFrame((now) => this.#draw(now));
  }
}
