/**
 * The clips of one passage: which are asked for, which are loaded, how loud they are. The page says what is wanted; what
 * is no longer wanted by the time it comes is dropped.
 */

import * as api from "./room_api.js";
import { gainsFor } from "./room_levels.js";

/** Decoded music is large (21 MB a minute): what was not heard for longest goes first. */
const MOST_LOADED = 16;

export class Passage {
  #player;
  #clips = new Map();
  #urls = new Map();
  #recent = [];
  #job = new AbortController();

  /** `onmark(version, state)` is told "loading", "loaded" or "failed" of each version. */
  constructor(player, onmark) {
    this.#player = player;
    this.onmark = onmark;
    this.isMatched = true;
  }

  /** Another passage or song: nothing of the former one stays. */
  clear() {
    this.renew();
    this.#player.clear();
    this.#clips.clear();
    this.#urls.clear();
    this.#recent = [];
  }

  /** Drop what is under way; gives the signal of what comes now. */
  renew() {
    this.#job.abort();
    this.#job = new AbortController();
    return this.#job.signal;
  }

  /** Loaded, and not through a simulated hearing loss. */
  isPlain(id) {
    return this.#player.has(id) && this.#urls.get(id)?.simulator === null;
  }

  loudness(id) {
    return this.#clips.get(id)?.loudness_lufs ?? null;
  }

  /** The gain for drawing: what is tallest of all versions fills the height, so that one can be seen beside another. */
  drawnGain(id) {
    const gains = this.#gains();
    let tallest = 0;
    for (const [version, { peak_lin }] of this.#clips) tallest = Math.max(tallest, peak_lin * gains.get(version));
    return tallest > 0 ? (this.#clips.get(id).scale_lin * gains.get(id)) / tallest : 1;
  }

  setMatched(isMatched) {
    this.isMatched = isMatched;
    this.#level();
  }

  /** Versions that no longer exist for this listener. */
  keepOnly(ids) {
    for (const id of this.#player.ids) {
      if (ids.has(id) || id === this.#player.selected) continue;
      this.#player.unload(id);
      this.#clips.delete(id);
      this.#urls.delete(id);
    }
  }

  /**
   * Have the server make these versions, and load them. One that is loaded already is replaced where it plays.
   * Gives false when it was not wanted any more by the time it was there.
   */
  async fetch(request, ids) {
    const { signal } = this.#job;
    if (ids.length === 0) return true;
    for (const id of ids) this.onmark(id, "loading");
    try {
      const clips = await this.#made(request, ids, signal);
      for (const clip of clips) this.#clips.set(clip.version, clip);
      const gains = this.#gains();
      // Levels that must fall do so before anything new is heard.
      this.#level();
      await Promise.all(clips.map((clip) => this.#load(clip, gains.get(clip.version), request.simulator, signal)));
    } catch (error) {
      if (signal.aborted) return false;
      for (const id of ids) this.onmark(id, this.#urls.has(id) ? "loaded" : "failed");
      throw error;
    }
    return !signal.aborted;
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
    if (!plain) return heard.clips;
    return heard.clips.map((clip, i) => ({ ...clip, loudness_lufs: plain.clips[i].loudness_lufs }));
  }

  async #load(clip, gain, simulator, signal) {
    const { version, url, scale_lin } = clip;
    if (this.#urls.get(version)?.url !== url || !this.#player.has(version)) {
      const isLoaded = await this.#player.load(version, url, { gain, scale: scale_lin, signal });
      if (!isLoaded || signal.aborted) return;
      this.#urls.set(version, { url, simulator });
      // The common gain may have changed while it was coming.
      this.#level();
    }
    this.#keep(version);
    this.onmark(version, "loaded");
  }

  #keep(version) {
    this.#recent = [version, ...this.#recent.filter((one) => one !== version)];
    while (this.#recent.length > MOST_LOADED) {
      const oldest = this.#recent.findLast((one) => one !== this.#player.selected);
      this.#recent = this.#recent.filter((one) => one !== oldest);
      this.#player.unload(oldest);
      this.#clips.delete(oldest);
      this.#urls.delete(oldest);
      this.onmark(oldest, "");
    }
  }

  #gains() {
    return gainsFor(this.#clips, this.isMatched);
  }

  #level() {
    for (const [id, gain] of this.#gains()) this.#player.setGain(id, gain);
  }
}
