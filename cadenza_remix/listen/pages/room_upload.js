/** A song of one's own: checked here as far as that goes, sent, and watched until the server has it in parts. */

import * as api from "./room_api.js";
import { byId, tell } from "./room_dom.js";
import { timeText } from "./room_text.js";

const LOOK_EVERY_MS = 700;
const KEPT = "listening-room-upload";
const WORDS = {
  waiting: "Waiting for its turn",
  decoding: "Reading the file",
  demixing: "Taking it apart into vocals, drums, bass and the rest",
  silent: "The server does not answer; asking again",
};
const NO_ANSWER = { state: "silent", share: 0, seconds_left: null };

export class OwnSong {
  #token = null;
  #sending = null;

  /** `onsong(song)` when one is ready, `onremoved(song)` when it was deleted. */
  constructor({ limits, separator, onsong, onremoved }) {
    this.limits = limits;
    this.onsong = onsong;
    this.onremoved = onremoved;
    this.song = null;
    byId("own").hidden = false;
    byId("own-hint").textContent =
      `Taken apart by ${separator ?? "the server's separator"} on this server, then remixed like the others. Up to ` +
      `${limits.max_upload_mb} MB and ${timeText(limits.max_upload_s, 0)} min: ${limits.upload_suffixes.join(", ")}.`;
    byId("own-file").accept = limits.upload_suffixes.join(",");
    byId("own-choose").addEventListener("click", () => byId("own-file").click());
    byId("own-file").addEventListener("change", ({ target }) => {
      if (target.files.length) this.take(target.files[0]);
      target.value = "";
    });
    byId("own-delete").addEventListener("click", () => this.#stop());
    this.#listenToDrops(byId("drop"));
  }

  /** After a reload the song of before is still there, if the server still has it. */
  async resume() {
    const token = sessionStorage.getItem(KEPT);
    if (!token) return;
    const job = await api.uploadState(token).catch((error) => ({ state: error.status === 404 ? "failed" : "unknown" }));
    if (job.state === "failed") {
      sessionStorage.removeItem(KEPT);
      return;
    }
    const watching = this.#watch(token).catch((error) => this.#failed(error));
    // The room need not wait for one that is still being made.
    if (job.state === "ready") await watching;
  }

  /** One song at a time: another one takes the place of the former. */
  async take(file) {
    const refusal = this.#refusal(file);
    tell(byId("own-error"), refusal);
    if (refusal) return;
    this.#sending = new AbortController();
    const token = (await this.#isRemoved()) ? await this.#sent(file, this.#sending.signal) : null;
    this.#sending = null;
    if (token) await this.#watch(token).catch((error) => this.#failed(error));
  }

  /** Send a file; gives its token, or null where it was stopped or refused. */
  async #sent(file, signal) {
    const text = `Sending ${file.name}`;
    this.#progress(text, 0);
    this.#offerToDelete("Stop sending");
    try {
      return await api.upload(file, (share) => this.#progress(text, share), signal);
    } catch (error) {
      if (!signal.aborted) this.#failed(error);
      return null;
    }
  }

  /** What the server refused, or made nothing of, is nothing to keep. */
  #failed(error) {
    if (this.#token) api.removeUpload(this.#token).catch(() => {});
    this.#forget();
    tell(byId("own-error"), error.message);
  }

  /** From the server and from the room. What cannot be reached stays known, so that it can be deleted later. */
  async #isRemoved() {
    const { song } = this;
    try {
      if (this.#token) await api.removeUpload(this.#token);
    } catch (error) {
      if (error.status !== 404) {
        tell(byId("own-error"), error.message);
        return false;
      }
    }
    this.#forget();
    if (song) this.onremoved(song);
    return true;
  }

  #forget() {
    this.#token = null;
    this.song = null;
    sessionStorage.removeItem(KEPT);
    this.#progress(null);
    const hadFocus = document.activeElement === byId("own-delete");
    byId("own-delete").hidden = true;
    if (hadFocus) byId("own-choose").focus();
  }

  async #stop() {
    this.#sending?.abort();
    tell(byId("own-error"), null);
    await this.#isRemoved();
  }

  #offerToDelete(text) {
    byId("own-delete").hidden = false;
    byId("own-delete").textContent = text;
  }

  /** What needs no server to see. The server checks again, and more. */
  #refusal(file) {
    const { max_upload_mb, upload_suffixes } = this.limits;
    if (this.#sending) return `${file.name}: another song is being sent; stop that first`;
    const name = file.name.toLowerCase();
    if (!upload_suffixes.some((suffix) => name.endsWith(suffix.toLowerCase()))) {
      return `${file.name}: not a kind that is read here; expected ${upload_suffixes.join(", ")}`;
    }
    const size_mb = file.size / 1e6;
    if (size_mb > max_upload_mb) return `${file.name}: ${size_mb.toFixed(1)} MB is too large; expected at most ${max_upload_mb} MB`;
    return file.size === 0 ? `${file.name}: the file is empty` : null;
  }

  async #watch(token) {
    this.#token = token;
    sessionStorage.setItem(KEPT, token);
    this.#offerToDelete("Stop and delete it");
    for (;;) {
      const job = await api.uploadState(token).catch((error) => (error.status === 0 ? NO_ANSWER : Promise.reject(error)));
      if (this.#token !== token) return;
      if (job.state === "failed") throw new Error(job.error);
      if (job.state === "ready") {
        this.#ready(job.song);
        return;
      }
      this.#progress(WORDS[job.state] ?? job.state, job.share, job.seconds_left);
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    }
  }

  #ready(song) {
    this.song = song;
    this.#progress(`${song.name} is ready`, 1);
    this.#offerToDelete(`Delete ${song.name} from the server`);
    this.onsong(song);
  }

  #progress(text, share = 0, left_s = null) {
    byId("own-progress").hidden = text === null;
    // The same words again would be read out again.
    if (text !== null && byId("own-state").textContent !== text) byId("own-state").textContent = text;
    byId("own-bar").value = share ?? 0;
    byId("own-left").textContent = left_s ? `about ${timeText(left_s, 0)} left` : "";
  }

  #listenToDrops(zone) {
    const over = (event) => {
      event.preventDefault();
      zone.classList.toggle("over", event.type === "dragover");
    };
    for (const name of ["dragover", "dragleave", "drop"]) zone.addEventListener(name, over);
    zone.addEventListener("drop", ({ dataTransfer }) => dataTransfer.files.length && this.take(dataTransfer.files[0]));
    // A file dropped beside the zone would replace the page.
    for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault());
  }
}
