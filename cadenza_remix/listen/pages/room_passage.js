/**
 * The clips of one passage: which are asked for, which are loaded, how loud they are. The page says what is wanted; what
 * is no longer wanted by the time it comes is dropped.
 */

import * as api from "./room_api.js";
import { gainsFor } from "./room_levels.js";
import { decibels } from "./room_text.js";

/** Of decoded music, which is large (21 MB a minute): what was not heard for longest goes first. */
const MOST_LOADED_S = 480;

export class Passage {
  #player;
  /** Of what is loaded, and of what is coming, by version. */
  #clips = new Map();
  #coming = new Map();
  #urls = new Map();
  #recent = [];
  #job = new AbortController();
  #nAsking = 0;
  /** Of what did not come or was no sound: the browser may have kept it so. */
  #lost = new Set();

  /** `onmark(version, state)` is told "loading", "loaded", "waiting" or "failed" of each version; `label(version)` is its name. */
  constructor(player, onmark, label = (version) => version) {
    this.#player = player;
    this.onmark = onmark;
    this.label = label;
    this.isMatched = true;
  }

  /** Another passage or song: nothing of the former one stays. */
  clear() {
    this.renew();
    this.#player.clear();
    this.#clips.clear();
    this.#urls.clear();
    this.#lost.clear();
    this.#recent = [];
  }

  /** Drop what is under way; gives the signal of what comes now. */
  renew() {
    this.#job.abort();
    this.#job = new AbortController();
    this.#coming.clear();
    return this.#job.signal;
  }

  /** Aborted when what is wanted now is no longer wanted. */
  get signal() {
    return this.#job.signal;
  }

  /** Loaded, and not through a simulated hearing loss. */
  isPlain(id) {
    return this.#player.has(id) && this.#urls.get(id)?.simulator === null;
  }

  /** Loaded, and what is wanted: not what sounds on only because its successor could not be made. */
  has(id) {
    return this.#player.has(id) && this.#urls.has(id);
  }

  loudness(id) {
    return this.#clips.get(id)?.loudness_lufs ?? null;
  }

  /** The highest sample as it is played at full volume. */
  peakDbfs(id) {
    return decibels(this.#clips.get(id).peak_lin * this.#gains().get(id));
  }

  setMatched(isMatched) {
    this.isMatched = isMatched;
    this.#level();
  }

  /** Versions that no longer exist for this listener. */
  keepOnly(ids) {
    for (const id of this.#player.ids) {
      if (!ids.has(id) && id !== this.#player.selected) this.#forget(id);
    }
  }

  /**
   * Have the server make these versions, and load them. One that is loaded already is replaced where it plays.
   * Gives those that cannot be made or did not come, each with its `error`, or null when nothing of it was wanted any more
   * by the time it was there. Throws where it is not theirs: the server is gone, or has forgotten what it made.
   */
  async fetch(request, ids) {
    const { signal } = this.#job;
    if (ids.length === 0) return [];
    this.#nAsking += 1;
    for (const id of ids) this.onmark(id, "loading");
    try {
      const { clips, failed } = await this.#made(request, ids, signal);
      signal.throwIfAborted();
      for (const { version } of failed) this.#fail(version);
      const lost = await this.#loadAll(clips, request.simulator, signal);
      return signal.aborted ? null : [...failed, ...lost];
    } catch (error) {
      if (signal.aborted) return null;
      // Where the server is gone, whoever asked for them waits for it and asks again.
      this.#markAgain(ids, error.status === 0 ? "waiting" : "failed");
      throw error;
    } finally {
      this.#nAsking -= 1;
    }
  }

  /**
   * Ask again for what is loaded: the clip of a file that was replaced meanwhile takes the place of the former one. Gives
   * those that did not come. What cannot be made any more plays on as it is loaded, as it does where the server is gone.
   */
  async lookAgain(request) {
    const { signal } = this.#job;
    const ids = this.#player.ids.filter((id) => this.has(id));
    if (ids.length === 0 || this.#nAsking > 0) return [];
    this.#nAsking += 1;
    let replaced = [];
    try {
      const { clips } = await this.#made(request, ids, signal);
      signal.throwIfAborted();
      replaced = clips.filter(({ version, url }) => this.has(version) && this.#urls.get(version).url !== url);
      for (const { version } of replaced) this.onmark(version, "loading");
      return await this.#loadAll(replaced, request.simulator, signal);
    } catch (error) {
      if (signal.aborted) return [];
      this.#markAgain(replaced.map(({ version }) => version), "failed");
      if (error.status === undefined) throw error;
      return [];
    } finally {
      this.#nAsking -= 1;
    }
  }

  #markAgain(ids, missing) {
    for (const id of ids) this.onmark(id, this.#urls.has(id) ? "loaded" : missing);
  }

  /**
   * With a simulated hearing loss, loudness is that before the loss: otherwise matching would make up for what is lost.
   */
  async #made(request, ids, signal) {
    const asked = { ...request, versions: ids };
    const [heard, plain] = await Promise.all([
      api.clips(asked, signal),
      request.simulator ? api.clips({ ...asked, simulator: null }, signal) : null,
    ]);
    if (!plain) return heard;
    // Either of them may lack versions that the other one has.
    const before = new Map(plain.clips.map((clip) => [clip.version, clip]));
    const clips = heard.clips
      .filter(({ version }) => before.has(version))
      .map((clip) => ({ ...clip, loudness_lufs: before.get(clip.version).loudness_lufs }));
    const failed = new Map([...plain.failed, ...heard.failed].map((one) => [one.version, one]));
    return { clips, failed: [...failed.values()] };
  }

  /** What is loaded of it belongs to another listener or way of hearing: it is not heard but where it sounds already. */
  #fail(id) {
    this.#coming.delete(id);
    this.#urls.delete(id);
    if (id !== this.#player.selected) this.#forget(id);
    this.onmark(id, "failed");
  }

  #forget(id) {
    this.#coming.delete(id);
    this.#recent = this.#recent.filter((one) => one !== id);
    this.#player.unload(id);
    this.#clips.delete(id);
    this.#urls.delete(id);
  }

  /** Load clips, all at once; gives those that did not come, each with its `error`. Throws as `fetch` does. */
  async #loadAll(clips, simulator, signal) {
    for (const clip of clips) this.#coming.set(clip.version, clip);
    // Levels that must fall do so before anything new is heard.
    this.#level();
    let answer = null;
    const isThere = () => (answer ??= api.isThere(signal));
    const load = (clip) => this.#load(clip, simulator, signal).then(() => null, (error) => this.#lose(clip, error, isThere, signal));
    const lost = (await Promise.all(clips.map(load))).filter((one) => one !== null);
    const ofServer = lost.find(({ status }) => status === 0 || status === 404);
    if (ofServer) throw Object.assign(new Error(ofServer.error), { status: ofServer.status });
    return lost;
  }

  /** A clip did not come, or is no sound: it is on its way no longer. Gives null where nobody waits for it any more. */
  async #lose(clip, { status, message }, isThere, signal) {
    const { version, url } = clip;
    const isServerGone = status === 0 && !(await isThere());
    if (signal.aborted || this.#coming.get(version) !== clip) return null;
    this.#coming.delete(version);
    this.#lost.add(url);
    if (!isServerGone) this.#fail(version);
    this.#level();
    const error = `${this.label(version)}: ${message}; choose it again`;
    return { version, error, status: status === 0 && !isServerGone ? null : status };
  }

  async #load(clip, simulator, signal) {
    const { version, url, scale_lin } = clip;
    if (this.#urls.get(version)?.url !== url || !this.#player.has(version)) {
      const gain = this.#gains().get(clip);
      const isFresh = this.#lost.has(url);
      const isLoaded = await this.#player.load(version, url, { gain, scale: scale_lin, signal, isFresh });
      if (!isLoaded) return;
      this.#urls.set(version, { url, simulator });
      this.#lost.delete(url);
    }
    // Only now: until it was there, its former clip sounded, which has a loudness of its own.
    this.#clips.set(version, clip);
    if (this.#coming.get(version) === clip) this.#coming.delete(version);
    this.#level();
    this.heard(version);
    this.onmark(version, "loaded");
  }

  /** This one was wanted last; too many of the others go. */
  heard(version) {
    this.#recent = [version, ...this.#recent.filter((one) => one !== version)];
    const most = Math.max(2, Math.floor(MOST_LOADED_S / this.#player.duration));
    while (this.#recent.length > most) {
      const oldest = this.#recent.findLast((one) => one !== this.#player.selected);
      this.#forget(oldest);
      this.onmark(oldest, "");
    }
  }

  /** By version of what is loaded, and by clip of what is coming: the common gain suits both. */
  #gains() {
    const coming = [...this.#coming.values()].map((clip) => [clip, clip]);
    return gainsFor(new Map([...this.#clips, ...coming]), this.isMatched);
  }

  #level() {
    const gains = this.#gains();
    for (const id of this.#clips.keys()) this.#player.setGain(id, gains.get(id));
  }
}
