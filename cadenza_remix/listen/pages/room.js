/** The listening room: choices above, the player, the versions, the audiogram, one's own song; wired together here. */

import { createContext, Player } from "./player.js";
import { readAddress, writeAddress } from "./room_address.js";
import * as api from "./room_api.js";
import { AudiogramEditor } from "./room_audiogram.js";
import { byId, element, option, tell } from "./room_dom.js";
import { listenToKeys } from "./room_keys.js";
import { LOUDEST_LUFS, TARGET_LUFS } from "./room_levels.js";
import { Passage } from "./room_passage.js";
import { Pictures } from "./room_pictures.js";
import { levelText } from "./room_text.js";
import { Transport } from "./room_transport.js";
import { OwnSong } from "./room_upload.js";
import { VersionList } from "./room_versions.js";

const FIRST_LENGTH_S = 30;
const SHORTEST_S = 1;

/** What can be heard at once without waiting. */
const isFirst = ({ id }) => id === "mixture" || (id.startsWith("remix:") && !id.startsWith("remix:clean:"));

class Room {
  constructor(description) {
    this.description = description;
    this.songs = new Map(description.songs.map((song) => [song.id, song]));
    this.listeners = new Map(description.listeners.map((listener) => [listener.id, listener]));
    this.player = new Player(createContext());
    this.transport = new Transport(this.player, (text) => this.say(text));
    this.pictures = new Pictures(byId("waveform"), byId("spectrogram"));
    this.list = new VersionList((id) => this.choose(id));
    this.passage = new Passage(this.player, (id, state) => this.mark(id, state));
    this.editor = new AudiogramEditor({
      standards: description.standard_audiograms,
      onedit: (ears) => this.hearFor(ears),
    });
    this.former = null;
    this.state = { song: null, listener: null, version: "mixture", start_s: 0, duration_s: FIRST_LENGTH_S, simulator: null };
    this.player.onchange = (what) => this.changed(what);
    this.listen();
  }

  /** Take what the address asks for as far as it exists here. */
  async open() {
    const { description, state } = this;
    byId("room-name").textContent = description.name ?? "";
    if (description.uploads) await this.allowUploads();
    const asked = readAddress();
    state.song = this.songs.get(asked.song) ?? this.songs.values().next().value ?? null;
    state.listener = this.listeners.get(asked.listener) ?? this.listeners.values().next().value;
    state.version = asked.version ?? "mixture";
    state.simulator = description.simulators.some(({ id }) => id === asked.simulator) ? asked.simulator : null;
    this.fillChoices();
    this.editor.setOwn(state.listener);
    this.editor.show(state.listener);
    this.setPassage(asked.start_s ?? 0, asked.duration_s ?? FIRST_LENGTH_S);
    if (asked.ears) await this.addEars(asked.ears).catch((error) => tell(byId("audiogram-error"), error.message));
    await this.showPassage();
  }

  async allowUploads() {
    const { limits, separator } = this.description;
    const onsong = (song) => this.addSong(song);
    this.own = new OwnSong({ limits, separator, onsong, onremoved: (song) => this.removeSong(song) });
    await this.own.resume();
  }

  listen() {
    byId("song").addEventListener("change", ({ target }) => this.chooseSong(target.value));
    byId("listener").addEventListener("change", ({ target }) => this.chooseListener(target.value));
    byId("simulator").addEventListener("change", ({ target }) => this.chooseSimulator(target.value));
    for (const name of ["start", "length"]) byId(name).addEventListener("change", () => this.typedPassage());
    byId("earlier").addEventListener("click", () => this.movePassage(-1));
    byId("later").addEventListener("click", () => this.movePassage(1));
    byId("matched").addEventListener("click", () => this.toggleMatched());
    byId("former").addEventListener("click", () => this.back());
    byId("help-open").addEventListener("click", () => byId("help").showModal());
    listenToKeys({
      toggle: () => this.transport.toggle(),
      seek: (seconds) => this.transport.seekBy(seconds),
      version: (number) => this.list.versions[number - 1] && this.choose(this.list.versions[number - 1].id),
      step: (by) => this.step(by),
      loop: () => this.transport.toggleLoop(),
      loopFrom: () => this.transport.loopFrom(),
      loopTo: () => this.transport.loopTo(),
      matched: () => this.toggleMatched(),
      former: () => this.back(),
      help: () => byId("help").showModal(),
    });
    this.tellMatched();
  }

  fillChoices() {
    const { state, description } = this;
    byId("song").replaceChildren(...[...this.songs.values()].map(({ id, name }) => option(id, name)));
    const people = [...this.listeners.values()].map(({ id, severity }) => option(id, `${id} (${severity})`));
    byId("listener").replaceChildren(...people);
    const ways = description.simulators.map(({ id, label }) => option(id, `this listener's ears: ${label}`));
    byId("simulator").replaceChildren(option("", "your own ears, as it is"), ...ways);
    byId("song").value = state.song?.id ?? "";
    byId("listener").value = state.listener.id;
    byId("simulator").value = state.simulator ?? "";
    this.tellSimulator();
  }

  /** Keep a passage inside its song. */
  setPassage(start_s, duration_s) {
    const { state } = this;
    const whole = state.song?.duration_s ?? FIRST_LENGTH_S;
    const shortest = Math.min(SHORTEST_S, whole);
    // Whole hundredths read well; the end of the song is never passed.
    state.start_s = Math.floor(Math.min(Math.max(0, start_s), whole - shortest) * 100) / 100;
    const longest = Math.min(whole - state.start_s, this.description.limits.max_clip_s);
    state.duration_s = Math.min(longest, Math.max(shortest, duration_s));
    Object.assign(byId("start"), { value: state.start_s, max: Math.floor((whole - SHORTEST_S) * 100) / 100 });
    Object.assign(byId("length"), { value: Math.floor(state.duration_s * 100) / 100, max: longest });
    byId("earlier").disabled = state.start_s <= 0;
    byId("later").disabled = state.start_s + state.duration_s >= whole - 0.02;
  }

  request() {
    const { song, listener, start_s, duration_s, simulator } = this.state;
    return { song: song.id, listener: listener.id, start_s, duration_s, simulator };
  }

  /** Another song or passage: from nothing. */
  async showPassage() {
    const { state } = this;
    this.passage.clear();
    this.pictures.clear();
    this.former = null;
    this.transport.setPassage(state.start_s, state.duration_s);
    if (!state.song) {
      byId("now").textContent = "No song here yet: bring your own";
      return;
    }
    await this.guarded("room-error", async (signal) => {
      this.busy("Loading");
      const versions = await api.versions(state.song.id, state.listener.id, signal);
      if (!versions.some(({ id }) => id === state.version)) state.version = versions[0].id;
      this.showVersions(versions);
      const wanted = versions.filter((one) => isFirst(one) || one.id === state.version).map(({ id }) => id);
      await this.fetchInTurn(wanted);
    });
  }

  /** Another listener or way of hearing: the same passage, swapped while it plays. */
  async refresh() {
    const { state } = this;
    if (!state.song) return;
    await this.guarded("room-error", async (signal) => {
      const versions = await api.versions(state.song.id, state.listener.id, signal);
      const ids = new Set(versions.map(({ id }) => id));
      if (!ids.has(state.version)) state.version = ids.has("mixture") ? "mixture" : versions[0].id;
      const wanted = new Set([...this.player.ids.filter((id) => ids.has(id)), ...versions.filter(isFirst).map(({ id }) => id)]);
      this.showVersions(versions);
      await this.fetchInTurn([...wanted]);
      this.passage.keepOnly(ids);
    });
  }

  /** What is heard first, then the rest. */
  async fetchInTurn(wanted) {
    const { version } = this.state;
    if (await this.passage.fetch(this.request(), [version])) {
      this.show(version);
      await this.passage.fetch(this.request(), wanted.filter((id) => id !== version));
    }
  }

  /** Run with everything before it dropped; tell what goes wrong in its place. */
  async guarded(place, work) {
    const signal = this.passage.renew();
    tell(byId(place), null);
    writeAddress({ ...this.state, song: this.state.song?.id ?? null });
    try {
      await work(signal);
    } catch (error) {
      if (!signal.aborted) tell(byId(place), error.message);
    } finally {
      if (!signal.aborted) this.busy(null);
    }
  }

  showVersions(versions) {
    const { start_s, duration_s, version } = this.state;
    this.list.show(versions, version, { start_s, end_s: start_s + duration_s });
    // What is loaded may be of the former listener until its successor is there: it is listed, and nothing more.
    for (const id of this.player.ids) this.list.mark(id, "loaded", this.passage.loudness(id));
  }

  /** The visitor wants this version: at once where it is loaded, else as soon as it is. */
  async choose(id) {
    const { state } = this;
    if (state.version !== id && this.player.has(state.version)) this.former = state.version;
    state.version = id;
    this.list.choose(id);
    writeAddress({ ...state, song: state.song.id });
    if (this.player.has(id)) {
      this.show(id);
      return;
    }
    this.say(`Loading ${this.list.label(id)}`);
    this.busy(`Loading ${this.list.label(id)}`);
    tell(byId("room-error"), null);
    try {
      if ((await this.passage.fetch(this.request(), [id])) && state.version === id) this.show(id);
    } catch (error) {
      tell(byId("room-error"), error.message);
    }
    this.busy(null);
  }

  show(id) {
    if (!this.player.has(id)) return;
    this.player.select(id);
    this.list.choose(id);
    this.describe();
    this.say(`Hearing ${this.list.label(id)}`);
  }

  /** Words and pictures of what is heard. */
  describe() {
    const id = this.player.selected;
    const buffer = this.player.buffer(id);
    if (!buffer) return;
    const name = this.list.label(id);
    const lufs = this.passage.loudness(id);
    byId("now").textContent = name;
    const through = this.state.simulator ? ", through a simulated hearing loss" : "";
    byId("now-detail").textContent = `${this.list.group(id)}. ${this.state.song.name}, for ${this.listenerName()}${through}. ${levelText(lufs)} LUFS as made`;
    this.pictures.show(buffer, this.passage.drawnGain(id), name);
    const other = this.former !== null && this.former !== id ? this.former : null;
    byId("former").disabled = other === null;
    byId("former").textContent = other === null ? "Back to the former" : `Back to ${this.list.label(other)}`;
  }

  listenerName() {
    const { id } = this.state.listener;
    return id.startsWith("custom-") ? "the audiogram as drawn" : id;
  }

  back() {
    if (this.former !== null) this.choose(this.former);
  }

  step(by) {
    const all = this.list.versions;
    const place = all.findIndex(({ id }) => id === this.state.version) + by;
    if (place >= 0 && place < all.length) this.choose(all[place].id);
  }

  chooseSong(id) {
    this.state.song = this.songs.get(id);
    this.setPassage(0, FIRST_LENGTH_S);
    return this.showPassage();
  }

  chooseListener(id) {
    const listener = this.listeners.get(id);
    this.state.listener = listener;
    this.editor.setOwn(listener);
    this.editor.show(listener);
    return this.refresh();
  }

  chooseSimulator(id) {
    this.state.simulator = id || null;
    this.tellSimulator();
    return this.refresh();
  }

  typedPassage() {
    const [start, length] = [byId("start"), byId("length")];
    this.setPassage(Number(start.value) || 0, Number(length.value) || FIRST_LENGTH_S);
    return this.showPassage();
  }

  movePassage(by) {
    const { start_s, duration_s, song } = this.state;
    this.setPassage(Math.min(start_s + by * duration_s, song.duration_s - duration_s), duration_s);
    return this.showPassage();
  }

  /** An edited audiogram: made on the server, heard as soon as it is there. */
  async hearFor(ears) {
    const asked_ms = performance.now();
    tell(byId("audiogram-error"), null);
    byId("audiogram-status").textContent = "Making it anew …";
    try {
      await this.addEars(ears);
    } catch (error) {
      byId("audiogram-status").textContent = "";
      tell(byId("audiogram-error"), error.message);
      return;
    }
    const { listener } = this.state;
    this.onheard = () => {
      const seconds = ((performance.now() - asked_ms) / 1000).toFixed(1);
      byId("audiogram-status").textContent = `${listener.severity} loss. Heard after ${seconds} s`;
    };
    await this.refresh();
    if (byId("room-error").hidden) return;
    this.onheard = null;
    byId("audiogram-status").textContent = "";
  }

  async addEars(ears) {
    const listener = await api.addListener(ears);
    for (const id of this.listeners.keys()) if (id.startsWith("custom-")) this.listeners.delete(id);
    this.listeners.set(listener.id, listener);
    this.state.listener = listener;
    const choice = byId("listener");
    choice.querySelector("option[data-own]")?.remove();
    choice.append(element("option", { value: listener.id, "data-own": true }, `audiogram as drawn (${listener.severity})`));
    choice.value = listener.id;
    this.editor.show(listener);
  }

  addSong(song) {
    this.songs.set(song.id, song);
    byId("song").append(option(song.id, `${song.name} (your own)`));
    byId("song").value = song.id;
    return this.state.listener ? this.chooseSong(song.id) : null;
  }

  removeSong(song) {
    this.songs.delete(song.id);
    [...byId("song").options].find(({ value }) => value === song.id)?.remove();
    if (this.state.song?.id !== song.id) return;
    this.state.song = this.songs.values().next().value ?? null;
    byId("song").value = this.state.song?.id ?? "";
    this.setPassage(0, FIRST_LENGTH_S);
    this.showPassage();
  }

  toggleMatched() {
    this.passage.setMatched(!this.passage.isMatched);
    this.tellMatched();
    this.describe();
    this.say(this.passage.isMatched ? "Loudness matched" : "True levels");
  }

  tellMatched() {
    const { isMatched } = this.passage;
    byId("matched").setAttribute("aria-pressed", isMatched);
    byId("matched-hint").textContent = isMatched
      ? `All versions at one loudness (${levelText(TARGET_LUFS, { digits: 0 })} LUFS or less, so that no peak is clipped): louder does not win.`
      : `True levels between versions; the loudest lies at ${levelText(LOUDEST_LUFS, { digits: 0 })} LUFS or below.`;
  }

  tellSimulator() {
    byId("simulator-hint").textContent = this.state.simulator
      ? "For people with normal hearing: raised thresholds and the steep growth of loudness of this audiogram are put on all versions. Loudness is matched before the loss, so that what is lost stays lost."
      : "";
  }

  mark(id, state) {
    this.list.mark(id, state, this.passage?.loudness(id));
    if (state !== "loaded" || id !== this.player.selected) return;
    this.describe();
    this.onheard?.();
    this.onheard = null;
  }

  changed(what) {
    if (what === "play" || what === "pause") this.say(what === "play" ? "Playing" : "Paused");
    this.transport.changed();
  }

  busy(text) {
    tell(byId("busy"), text);
    byId("player").setAttribute("aria-busy", Boolean(text));
  }

  say(text) {
    byId("status").textContent = text;
  }
}

try {
  await new Room(await api.room()).open();
} catch (error) {
  tell(byId("room-error"), error.message);
}
