/** The listening room: choices above, the player, the versions, the audiogram, one's own song; wired together here. */

import { createContext, Player } from "./player.js";
import { readAddress, writeAddress } from "./room_address.js";
import * as api from "./room_api.js";
import { Attempts } from "./room_attempts.js";
import { AudiogramEditor } from "./room_audiogram.js";
import { Choices, FIRST_LENGTH_S } from "./room_choices.js";
import { byId, tell } from "./room_dom.js";
import { Edits, isDrawn } from "./room_edits.js";
import { listenToKeys } from "./room_keys.js";
import { LOUDEST_LUFS, TARGET_LUFS } from "./room_levels.js";
import { Passage } from "./room_passage.js";
import { Pictures } from "./room_pictures.js";
import { chainText, levelText } from "./room_text.js";
import { Transport } from "./room_transport.js";
import { OwnSong } from "./room_upload.js";
import { VersionList } from "./room_versions.js";

/** What can be heard at once without waiting. */
const isFirst = ({ id }) => id === "mixture" || (id.startsWith("remix:") && !id.startsWith("remix:clean:"));

const isRemix = ({ id }) => id.startsWith("remix:");

/** What changes with the audiogram. With a simulated hearing loss, everything does. */
const isForListener = (id) => id.startsWith("remix:") || id.startsWith("stem:");

/** What an address asks for and is not here, in words. A drawn audiogram's name is known to its server only. */
function missingOf(asked, { song, listener, version, simulator }) {
  const isDrawn = asked.listener?.startsWith("custom-");
  const pairs = [
    ["song", asked.song, song?.id],
    ["listener", isDrawn && asked.ears ? null : asked.listener, listener.id],
    ["version", asked.version, version],
    ["hearing", asked.simulator, simulator],
  ];
  return pairs.filter(([, wanted, shown]) => wanted && wanted !== shown).map(([word, wanted]) => `${word} ${wanted}`);
}

/** One damaged file may be what several versions are made from: its line is told once. */
const failureText = (failed) => [...new Set(failed.map(({ error }) => error))].join("; ");

class Room {
  constructor(description) {
    this.description = description;
    this.choices = new Choices(description, {
      song: (id) => this.chooseSong(id),
      listener: (id) => this.chooseListener(id),
      simulator: (id) => this.chooseSimulator(id),
      passage: () => this.showPassage(),
    });
    this.player = new Player(createContext());
    const onerror = (line) => tell(byId("transport-error"), line);
    this.transport = new Transport(this.player, { onsay: (text) => this.say(text), onerror });
    this.pictures = new Pictures(byId("waveform"), byId("spectrogram"));
    const chains = description.systems.filter(({ chain }) => chain);
    const notes = new Map(chains.map(({ name, chain }) => [`remix:${name}`, chainText(chain)]));
    this.list = new VersionList(notes, (id) => this.choose(id));
    this.passage = new Passage(this.player, (id, state) => this.mark(id, state), (id) => this.list.label(id));
    this.editor = new AudiogramEditor({
      standards: description.standard_audiograms,
      onedit: (ears) => this.edits.hear(ears),
    });
    this.edits = new Edits({
      ontake: (listener) => {
        this.takeDrawn(listener);
        return this.refresh();
      },
      hasRemix: () => this.list.versions.some(isRemix),
      signal: () => this.passage.signal,
    });
    this.attempts = new Attempts({ onbusy: (text) => this.busy(text), onforgotten: () => this.tellAgain() });
    this.former = null;
    this.state = { song: null, listener: null, version: "mixture", simulator: null };
    this.player.onchange = (what) => this.changed(what);
    this.listen();
  }

  /** Take what the address asks for as far as it exists here. */
  async open() {
    const { description, state } = this;
    byId("room-name").textContent = description.name ?? "";
    if (description.uploads) await this.allowUploads();
    const asked = readAddress();
    const { songs, listeners } = this.choices;
    state.song = songs.get(asked.song) ?? songs.values().next().value ?? null;
    state.listener = listeners.get(asked.listener) ?? listeners.values().next().value;
    state.version = asked.version ?? "mixture";
    state.simulator = description.simulators.some(({ id }) => id === asked.simulator) ? asked.simulator : null;
    this.choices.show(state);
    this.editor.setOwn(state.listener);
    this.editor.show(state.listener);
    this.choices.setPassage(state.song, asked.start_s ?? 0, asked.duration_s ?? FIRST_LENGTH_S);
    const drawn = asked.ears && (await this.edits.added(asked.ears));
    if (drawn) {
      this.takeDrawn(drawn);
      this.editor.showDrawn(drawn);
    }
    await this.showPassage();
    const missing = missingOf(asked, state);
    tell(byId("address-note"), missing.length ? `Not here, so something else is shown: ${missing.join(", ")}.` : null);
  }

  async allowUploads() {
    const { limits, separator } = this.description;
    const onsong = (song) => this.addSong(song);
    this.own = new OwnSong({ limits, separator, onsong, onremoved: (song) => this.removeSong(song) });
    await this.own.resume();
  }

  listen() {
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
    // Whoever comes back to the page may have made a run again meanwhile.
    addEventListener("focus", () => this.lookAgain());
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.lookAgain());
    this.tellMatched();
  }

  /** What is loaded is heard as it is by now. */
  async lookAgain() {
    if (!this.state.song) return;
    const failed = await this.passage.lookAgain(this.request());
    if (failed.length > 0) tell(byId("room-error"), failureText(failed));
  }

  request() {
    const { song, listener, simulator } = this.state;
    const { start_s, duration_s } = this.choices;
    return { song: song.id, listener: listener.id, start_s, duration_s, simulator };
  }

  /** Another song or passage: from nothing. */
  async showPassage() {
    const { state } = this;
    this.passage.clear();
    this.pictures.clear();
    this.former = null;
    this.transport.setPassage(this.choices.start_s, this.choices.duration_s);
    byId("now").textContent = state.song ? "Loading" : "No song here yet: bring your own";
    byId("now-detail").textContent = state.song?.name ?? "";
    if (!state.song) {
      this.list.show([], null, {});
      return;
    }
    await this.renewed("Loading", async (signal) => {
      const versions = await this.versions(signal);
      this.showVersions(versions);
      const wanted = versions.filter((one) => isFirst(one) || one.id === state.version).map(({ id }) => id);
      return this.fetchInTurn(wanted);
    });
  }

  /** Another listener or way of hearing: the same passage, swapped while it plays. */
  async refresh() {
    const { state } = this;
    if (!state.song) return false;
    this.say("Making it anew");
    return this.renewed("Making it anew", async (signal) => {
      const versions = await this.versions(signal);
      const ids = new Set(versions.map(({ id }) => id));
      const isKept = (id) => !isForListener(id) && state.simulator === null && this.passage.isPlain(id);
      const firsts = versions.filter(isFirst).map(({ id }) => id);
      const all = [state.version, ...this.player.ids, ...firsts];
      const wanted = new Set(all.filter((id) => ids.has(id) && !isKept(id)));
      this.showVersions(versions);
      const failed = await this.fetchInTurn([...wanted]);
      this.passage.keepOnly(ids);
      return failed;
    });
  }

  /** What can be heard; the chosen version is one of them. */
  async versions(signal) {
    const { state } = this;
    const versions = await api.versions(state.song.id, state.listener.id, signal);
    if (versions.length === 0) throw new Error(`nothing of ${state.song.name} can be heard for ${this.listenerName()}`);
    if (!versions.some(({ id }) => id === state.version)) state.version = versions[0].id;
    return versions;
  }

  /**
   * What is heard first, then the rest. Another choice in the meantime is heard, not this one. Gives those that failed,
   * which keep nothing else from being loaded.
   */
  async fetchInTurn(wanted) {
    const { version } = this.state;
    const first = await this.passage.fetch(this.request(), wanted.filter((id) => id === version));
    if (first === null) return [];
    if (first.length > 0) tell(byId("room-error"), failureText(first));
    else if (version === this.state.version) this.show(version);
    const rest = await this.passage.fetch(this.request(), wanted.filter((id) => id !== version));
    if (first.length > 0 && version === this.state.version) this.sayFailed(version);
    return [...first, ...(rest ?? [])];
  }

  /** Run with everything before it dropped; `work` gives the versions that failed. */
  async renewed(text, work) {
    const signal = this.passage.renew();
    this.remember();
    const isDone = await this.attempts.run(signal, text, async () => {
      const failed = await work(signal);
      this.remember();
      if (failed.length > 0) throw new Error(failureText(failed));
    });
    // Another version that was chosen meanwhile may still come.
    const isOver = !isDone && !signal.aborted && !this.attempts.isBusy;
    if (isOver && this.player.selected === null) this.sayFailed(this.state.version);
    return isDone;
  }

  /** A server that was started anew does not know the drawn audiogram. */
  async tellAgain() {
    const { listener } = this.state;
    if (isDrawn(listener)) this.state.listener = await api.addListener({ left: listener.left, right: listener.right });
  }

  showVersions(versions) {
    const { start_s, duration_s } = this.choices;
    this.list.show(versions, this.state.version, { start_s, end_s: start_s + duration_s });
    // What is loaded may be of the former listener until its successor is there: it is listed, and nothing more.
    const loaded = this.player.ids.filter((id) => this.passage.has(id));
    for (const id of loaded) this.list.mark(id, "loaded", this.passage.loudness(id));
  }

  /** The visitor wants this version: at once where it is loaded, else as soon as it is. */
  choose(id) {
    const { state } = this;
    if (state.version !== id && this.passage.has(state.version)) this.former = state.version;
    state.version = id;
    this.list.choose(id);
    this.remember();
    if (this.passage.has(id)) {
      this.show(id);
      return;
    }
    const text = `Loading ${this.list.label(id)}`;
    this.say(text);
    if (this.player.selected === null) byId("now").textContent = text;
    const { signal } = this.passage;
    const loading = this.attempts.run(signal, text, async () => {
      const failed = await this.passage.fetch(this.request(), [id]);
      if (failed?.length > 0) throw new Error(failureText(failed));
      if (failed && state.version === id) this.show(id);
    });
    loading.then((isDone) => {
      if (!isDone && !signal.aborted && state.version === id) this.sayFailed(id);
    });
  }

  /** What was wanted cannot be played: another one sounds on, or nothing. */
  sayFailed(id) {
    const heard = this.player.selected;
    const still = heard === null || heard === id ? "" : `; still hearing ${this.list.label(heard)}`;
    const isListed = this.list.versions.some((one) => one.id === id);
    const text = isListed ? `${this.list.label(id)} cannot be played` : "Nothing can be played";
    this.say(`${text}${still}`);
    if (heard === null) byId("now").textContent = text;
  }

  show(id) {
    if (!this.player.has(id)) return;
    this.player.select(id);
    this.passage.heard(id);
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
    const loudness = lufs === null ? "Silent" : `${levelText(lufs)} LUFS before levelling`;
    byId("now").textContent = name;
    const through = this.state.simulator ? ", through a simulated hearing loss" : "";
    byId("now-detail").textContent = `${this.list.group(id)}. ${this.state.song.name}, for ${this.listenerName()}${through}. ${loudness}`;
    this.pictures.show(buffer, this.passage.peakDbfs(id), name);
    const other = this.former !== null && this.former !== id ? this.former : null;
    byId("former").disabled = other === null;
    byId("former").textContent = other === null ? "Back to the former version" : `Back to ${this.list.label(other)}`;
  }

  listenerName() {
    const { listener } = this.state;
    return isDrawn(listener) ? "the audiogram as drawn" : listener.id;
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
    this.state.song = this.choices.songs.get(id) ?? null;
    this.choices.show(this.state);
    this.choices.setPassage(this.state.song, 0, FIRST_LENGTH_S);
    return this.showPassage();
  }

  chooseListener(id) {
    const listener = this.choices.listeners.get(id);
    this.edits.drop();
    this.state.listener = listener;
    this.editor.setOwn(listener);
    this.editor.show(listener);
    return this.refresh();
  }

  chooseSimulator(id) {
    this.state.simulator = id;
    this.choices.show(this.state);
    return this.refresh();
  }

  /** A drawn audiogram is a listener like others. */
  takeDrawn(listener) {
    this.state.listener = listener;
    this.choices.setDrawn(listener);
  }

  async addSong(song) {
    this.choices.addSong(song);
    if (this.state.listener) await this.chooseSong(song.id);
  }

  removeSong(song) {
    this.choices.removeSong(song);
    if (this.state.song?.id === song.id) this.chooseSong(this.choices.songs.keys().next().value);
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

  mark(id, state) {
    this.list.mark(id, state, this.passage?.loudness(id));
    if (state !== "loaded" || id !== this.player.selected) return;
    this.describe();
    this.edits.heard();
  }

  changed(what) {
    if (what === "play" || what === "pause") this.say(what === "play" ? "Playing" : "Paused");
    this.transport.changed();
  }

  busy(text) {
    tell(byId("busy"), text);
    byId("player").setAttribute("aria-busy", Boolean(text));
  }

  remember() {
    const { start_s, duration_s } = this.choices;
    writeAddress({ ...this.state, song: this.state.song?.id ?? null, start_s, duration_s });
  }

  say(text) {
    byId("status").textContent = text;
  }
}

// A link within the page moves the focus; its name would take the place of the view in the address.
document.querySelector(".skip-link").addEventListener("click", (event) => {
  event.preventDefault();
  byId("player").focus();
});

// Another view pasted into the address; what is written there by this page itself does not come here.
addEventListener("hashchange", () => location.reload());

try {
  await new Room(await api.room()).open();
} catch (error) {
  tell(byId("room-error"), error.message);
}
