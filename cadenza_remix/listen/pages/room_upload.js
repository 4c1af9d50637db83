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
};

export class OwnSong {
  #token = null;

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
    byId("own-delete").addEventListener("click", () => this.remove());
    this.#listenToDrops(byId("drop"));
  }

  /** After a reload the song of before is still there, if the server still has it. */
  async resume() {
    const token = sessionStorage.getItem(KEPT);
    if (!token) return;
    const job = await api.uploadState(token).catch(() => null);
    if (!job || job.state === "failed") {
      sessionStorage.removeItem(KEPT);
      return;
    }
    const watching = this.#watch(token).catch((error) => this.#failed(error));
    // The room need not wait for one that is still being made.
    if (job.state === "ready") await watching;
  }

  async take(file) {
    tell(byId("own-error"), null);
    const refusal = this.#refusal(file);
    if (refusal) {
      tell(byId("own-error"), refusal);
      return;
    }
    byId("own-choose").disabled = true;
    try {
      await this.#forget();
      this.#progress(`Sending ${file.name}`, 0);
      const token = await api.upload(file, (share) => this.#progress(`Sending ${file.name}`, share));
      await this.#watch(token);
    } catch (error) {
      this.#failed(error);
    } finally {
      byId("own-choose").disabled = false;
    }
  }

  #failed(error) {
    this.#progress(null);
    tell(byId("own-error"), error.message);
    if (!this.song) byId("own-delete").hidden = true;
  }

  async remove() {
    try {
      const { song } = this;
      await this.#forget();
      this.#progress(null);
      if (song) this.onremoved(song);
    } catch (error) {
      tell(byId("own-error"), error.message);
    }
  }

  /** What needs no server to see. The server checks again, and more. */
  #refusal(file) {
    const { max_upload_mb, upload_suffixes } = this.limits;
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
    byId("own-delete").hidden = false;
    byId("own-delete").textContent = "Stop and delete it";
    for (;;) {
      const job = await api.uploadState(token);
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
    byId("own-delete").textContent = `Delete ${song.name} from the server`;
    this.onsong(song);
  }

  async #forget() {
    const token = this.#token;
    this.#token = null;
    this.song = null;
    sessionStorage.removeItem(KEPT);
    byId("own-delete").hidden = true;
    if (token) await api.removeUpload(token).catch((error) => error.status === 404 || Promise.reject(error));
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
