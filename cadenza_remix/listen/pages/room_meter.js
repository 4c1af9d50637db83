/** Peak and root mean square of what leaves the page, one meter for each channel. */

import { decibels, levelText } from "./room_text.js";

const LOWEST_DB = -60;
const FALL_DB_PER_S = 24;
const NUMBERS_EVERY_MS = 200;

export class Meters {
  #analysers;
  #samples = new Float32Array(2048);
  #held = [LOWEST_DB, LOWEST_DB];
  #last_ms = 0;
  #numbers_ms = 0;

  constructor(context, output, root) {
    const splitter = new ChannelSplitterNode(context, { numberOfOutputs: 2 });
    output.connect(splitter);
    this.#analysers = [0, 1].map((channel) => {
      const analyser = new AnalyserNode(context, { fftSize: 2048 });
      splitter.connect(analyser, channel);
      return analyser;
    });
    this.rows = [...root.querySelectorAll(".meter")].map((row) => ({
      bar: row.querySelector(".bar"),
      peak: row.querySelector(".peak"),
      rms: row.querySelector(".rms"),
      text: row.querySelector("output"),
    }));
  }

  /** Draw the present levels. True while something is to be seen: silence falls for a while. */
  draw(now_ms) {
    const elapsed_s = Math.min(0.2, (now_ms - this.#last_ms) / 1000);
    const isTold = now_ms - this.#numbers_ms >= NUMBERS_EVERY_MS;
    this.#last_ms = now_ms;
    if (isTold) this.#numbers_ms = now_ms;
    this.#analysers.forEach((analyser, channel) => this.#drawOne(analyser, channel, elapsed_s, isTold));
    return this.#held.some((db) => db > LOWEST_DB);
  }

  #drawOne(analyser, channel, elapsed_s, isTold) {
    analyser.getFloatTimeDomainData(this.#samples);
    let [peak, squares] = [0, 0];
    for (const value of this.#samples) {
      peak = Math.max(peak, Math.abs(value));
      squares += value * value;
    }
    const peak_db = decibels(peak);
    const rms_db = decibels(Math.sqrt(squares / this.#samples.length));
    this.#held[channel] = Math.max(peak_db, this.#held[channel] - FALL_DB_PER_S * elapsed_s, LOWEST_DB);
    const row = this.rows[channel];
    const share = (db) => Math.min(1, Math.max(0, 1 - db / LOWEST_DB));
    row.peak.style.left = `${100 * share(this.#held[channel])}%`;
    row.rms.style.transform = `scaleX(${share(rms_db)})`;
    if (!isTold) return;
    row.bar.setAttribute("aria-valuenow", Math.max(LOWEST_DB, peak_db).toFixed(1));
    row.bar.setAttribute("aria-valuetext", `peak ${levelText(peak_db)} dBFS`);
    row.text.textContent = `peak ${levelText(peak_db)}  RMS ${levelText(rms_db)} dBFS`;
  }
}
