/** The choices above the player: song, listener, passage, and through whose ears. */

import { byId, element, option } from "./room_dom.js";

export const FIRST_LENGTH_S = 30;
const SHORTEST_S = 1;
const LOSS_HINTS = {
  simple:
    "A rough model for people with normal hearing: raised thresholds and the steep growth of loudness of this audiogram, " +
    "on all versions. Not in it: blurred frequencies, dead regions, tinnitus.",
  msbg:
    "A model for people with normal hearing: raised thresholds, steep growth of loudness and blurred frequencies of this " +
    "audiogram, on all versions. Not in it: dead regions, tinnitus.",
};
const LOSS_LEVELS = "It is no hearing aid and no diagnosis. Loudness is matched before the loss, so that what is lost stays lost.";

/** Rounded down, but for what binary fractions lack of a whole one. */
const hundredths = (seconds) => Math.floor(100 * seconds + 1e-6) / 100;

const typed = (name, otherwise) => (byId(name).value === "" ? otherwise : Number(byId(name).value));

export class Choices {
  /** `on` is told of each choice: song(id), listener(id), simulator(id or null), passage(start_s, duration_s). */
  constructor(description, on) {
    this.maxLength_s = description.limits.max_clip_s;
    this.songs = new Map(description.songs.map((song) => [song.id, song]));
    this.listeners = new Map(description.listeners.map((listener) => [listener.id, listener]));
    this.start_s = 0;
    this.duration_s = FIRST_LENGTH_S;
    this.on = on;
    this.#fill(description.simulators);
    byId("song").addEventListener("change", ({ target }) => on.song(target.value));
    byId("listener").addEventListener("change", ({ target }) => on.listener(target.value));
    byId("simulator").addEventListener("change", ({ target }) => on.simulator(target.value || null));
    for (const name of ["start", "length"]) byId(name).addEventListener("change", () => this.#typed());
    byId("earlier").addEventListener("click", () => this.#move(-1));
    byId("later").addEventListener("click", () => this.#move(1));
  }

  #fill(simulators) {
    byId("song").replaceChildren(...[...this.songs.values()].map(({ id, name }) => option(id, name)));
    const people = [...this.listeners.values()].map(({ id, severity }) => option(id, `${id} (${severity})`));
    byId("listener").replaceChildren(...people);
    const ways = simulators.map(({ id, label }) => option(id, `this listener's ears: ${label}`));
    byId("simulator").replaceChildren(option("", "your own ears, as it is"), ...ways);
  }

  show({ song, listener, simulator }) {
    byId("song").value = song?.id ?? "";
    byId("listener").value = listener.id;
    byId("simulator").value = simulator ?? "";
    byId("simulator-hint").textContent = simulator ? [LOSS_HINTS[simulator], LOSS_LEVELS].filter(Boolean).join(" ") : "";
  }

  /** Keep a passage inside its song, and show it. Whole hundredths read well; the end of the song is never passed. */
  setPassage(song, start_s, duration_s) {
    this.song = song;
    const whole = song?.duration_s ?? FIRST_LENGTH_S;
    const shortest = Math.min(SHORTEST_S, whole);
    this.start_s = hundredths(Math.min(Math.max(0, start_s), whole - shortest));
    const longest = Math.min(whole - this.start_s, this.maxLength_s);
    this.duration_s = Math.min(longest, Math.max(shortest, duration_s));
    Object.assign(byId("start"), { value: this.start_s, max: hundredths(whole - shortest) });
    Object.assign(byId("length"), { value: hundredths(this.duration_s), max: Math.min(whole, this.maxLength_s) });
    byId("earlier").disabled = this.start_s <= 0;
    byId("later").disabled = this.start_s + this.duration_s >= whole - 0.02;
  }

  addSong(song) {
    this.removeSong(song);
    this.songs.set(song.id, song);
    byId("song").append(option(song.id, `${song.name} (your own)`));
  }

  removeSong({ id }) {
    this.songs.delete(id);
    [...byId("song").options].find(({ value }) => value === id)?.remove();
  }

  /** One drawn audiogram at a time stands among the listeners. */
  setDrawn(listener) {
    for (const id of this.listeners.keys()) if (id.startsWith("custom-")) this.listeners.delete(id);
    this.listeners.set(listener.id, listener);
    byId("listener").querySelector("option[data-drawn]")?.remove();
    const text = `audiogram as drawn (${listener.severity})`;
    byId("listener").append(element("option", { value: listener.id, "data-drawn": true }, text));
    byId("listener").value = listener.id;
  }

  #typed() {
    this.#passage(typed("start", 0), typed("length", FIRST_LENGTH_S));
  }

  #move(by) {
    if (!this.song) return;
    const start_s = Math.min(this.start_s + by * this.duration_s, this.song.duration_s - this.duration_s);
    this.#passage(start_s, this.duration_s);
  }

  #passage(start_s, duration_s) {
    this.setPassage(this.song, start_s, duration_s);
    this.on.passage();
  }
}
