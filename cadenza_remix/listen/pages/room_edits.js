/** Audiograms that were drawn: told to the server, heard as soon as what they need is there. A later edit wins. */

import * as api from "./room_api.js";
import { isBack } from "./room_attempts.js";
import { byId, tell } from "./room_dom.js";

const NO_STEMS = "No remix for this audiogram: the run kept no separated stems to make one from.";

/** A listener whose audiogram was drawn here; the server names them so. */
export const isDrawn = ({ id }) => id.startsWith("custom-");

export class Edits {
  #last = 0;
  #onheard = null;

  /**
   * `ontake(listener)` makes a drawn audiogram the listener and gives whether all was made anew for it; `hasRemix()` says
   * whether a remix is among the versions; `signal()` is aborted when something else is wanted.
   */
  constructor({ ontake, hasRemix, signal }) {
    this.ontake = ontake;
    this.hasRemix = hasRemix;
    this.signal = signal;
  }

  async hear(ears) {
    const asked_ms = performance.now();
    this.drop();
    const edit = this.#last;
    byId("audiogram-status").textContent = "Making it anew …";
    const listener = await this.added(ears, () => edit === this.#last);
    if (edit !== this.#last) return;
    byId("audiogram-status").textContent = "";
    if (listener === null) return;
    this.#onheard = (what) => {
      const seconds = ((performance.now() - asked_ms) / 1000).toFixed(1);
      byId("audiogram-status").textContent = `${listener.severity} loss. ${what} after ${seconds} s`;
    };
    const isMade = await this.ontake(listener);
    if (edit !== this.#last) return;
    if (!this.hasRemix()) byId("audiogram-status").textContent = NO_STEMS;
    // What does not depend on the audiogram is heard as it was.
    else if (isMade) this.#onheard?.("Made");
    this.#onheard = null;
  }

  /** What is heard has just been made anew. */
  heard() {
    this.#onheard?.("Heard");
    this.#onheard = null;
  }

  /** An edit under way is no longer wanted. */
  drop() {
    this.#last += 1;
    this.#onheard = null;
    byId("audiogram-status").textContent = "";
    tell(byId("audiogram-error"), null);
  }

  /** The listener of an audiogram, as soon as the server is there; null when it does not take it. */
  async added(ears, isWanted = () => true) {
    const signal = this.signal();
    try {
      return await api.addListener(ears);
    } catch (error) {
      if (isWanted() && error.status === 0 && (await isBack(signal))) return this.added(ears, isWanted);
      if (isWanted()) tell(byId("audiogram-error"), error.message);
      return null;
    }
  }
}
