/**
 * What is wanted of the server, tried until it is there: a server that is gone is waited for, and one that has forgotten
 * clips or a drawn audiogram (it was started anew) is told again.
 */

import * as api from "./room_api.js";
import { byId, tell } from "./room_dom.js";

const LOOK_EVERY_MS = 1000;
const GONE = "The server does not answer. What is loaded plays on; the rest goes on as soon as it is back.";

function pause(delay_ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, delay_ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}

/** Wait for a server that does not answer; the page says so meanwhile. False when nobody wants it any more. */
export async function isBack(signal) {
  tell(byId("room-error"), GONE);
  while (!signal.aborted) {
    await pause(LOOK_EVERY_MS, signal);
    if (await api.isThere(signal)) break;
  }
  if (!signal.aborted) tell(byId("room-error"), null);
  return !signal.aborted;
}

export class Attempts {
  #last = 0;
  #isBusy = false;

  /** `onbusy(text or null)` shows what is waited for; `onforgotten()` tells the server again what it may not know. */
  constructor({ onbusy, onforgotten }) {
    this.onbusy = onbusy;
    this.onforgotten = onforgotten;
  }

  /** Whether the last thing that was wanted is still waited for. */
  get isBusy() {
    return this.#isBusy;
  }

  /** Do `work`, and tell what goes wrong. True when it was done; false when it failed or `signal` dropped it. */
  async run(signal, text, work) {
    const own = (this.#last += 1);
    tell(byId("room-error"), null);
    this.#isBusy = true;
    this.onbusy(text);
    try {
      await this.#persist(signal, work);
    } catch (error) {
      if (!signal.aborted) tell(byId("room-error"), error.message);
      return false;
    } finally {
      // Of several under way, the last is what is waited for.
      if (own === this.#last) {
        this.#isBusy = false;
        this.onbusy(null);
      }
    }
    return !signal.aborted;
  }

  async #persist(signal, work) {
    let isToldAgain = false;
    for (;;) {
      try {
        await work();
        return;
      } catch (error) {
        if (signal.aborted) throw error;
        if (error.status === 0) {
          if (!(await isBack(signal))) throw error;
        } else if (error.status === 404 && !isToldAgain) {
          isToldAgain = true;
          await this.onforgotten();
        } else {
          throw error;
        }
      }
    }
  }
}
