/** Waveform and spectrogram of a version, drawn on canvases in the colours of the page. */

import { byId } from "./room_dom.js";
import { RANGE_DB } from "./room_fft.js";
import { frequencyText, levelText } from "./room_text.js";

const COLUMNS = 900;
const ROWS = 192;

/** From the ground of the picture to its loudest points. */
const STOPS = ["--map-0", "--map-1", "--map-2", "--map-3", "--map-4", "--map-5"];

const channelsOf = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

/** The colour of each level, from the style sheet, which the legend is drawn by as well. */
function coloursOf(canvas) {
  const style = getComputedStyle(canvas);
  const parts = STOPS.map((name) => channelsOf(style.getPropertyValue(name).trim()));
  return Array.from({ length: 256 }, (_, level) => {
    const at = (level / 255) * (parts.length - 1);
    const low = Math.min(parts.length - 2, Math.floor(at));
    return parts[low].map((value, i) => Math.round(value + (at - low) * (parts[low + 1][i] - value)));
  });
}

/** The samples of both ears, added. */
function mono(buffer) {
  const mixed = Float32Array.from(buffer.getChannelData(0));
  for (let channel = 1; channel < buffer.numberOfChannels; channel += 1) {
    buffer.getChannelData(channel).forEach((value, i) => {
      mixed[i] += value;
    });
  }
  return mixed;
}

/** The lowest and highest sample and the root mean square of each column; one pass, kept for each buffer. */
function envelope(buffer) {
  const [low, high, rms] = [new Float32Array(COLUMNS), new Float32Array(COLUMNS), new Float32Array(COLUMNS)];
  const channels = Array.from({ length: buffer.numberOfChannels }, (_, i) => buffer.getChannelData(i));
  let tallest = 0;
  for (let column = 0; column < COLUMNS; column += 1) {
    const first = Math.floor((column * buffer.length) / COLUMNS);
    const last = Math.max(first + 1, Math.floor(((column + 1) * buffer.length) / COLUMNS));
    let squares = 0;
    for (const samples of channels) {
      for (let i = first; i < last; i += 1) {
        const value = samples[i];
        if (value < low[column]) low[column] = value;
        if (value > high[column]) high[column] = value;
        squares += value * value;
      }
    }
    rms[column] = Math.sqrt(squares / ((last - first) * channels.length));
    tallest = Math.max(tallest, -low[column], high[column]);
  }
  return { low, high, rms, tallest };
}

function sized(canvas) {
  const ratio = Math.min(2, devicePixelRatio || 1);
  const width = Math.max(1, Math.round(canvas.clientWidth * ratio));
  const height = Math.max(1, Math.round(canvas.clientHeight * ratio));
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  return canvas.getContext("2d");
}

export class Pictures {
  #worker = new Worker("/pages/room_fft_worker.js", { type: "module" });
  #waiting = new Map();
  #envelopes = new WeakMap();
  #spectrograms = new WeakMap();
  #ticket = 0;
  #shown = null;

  constructor(waveform, spectrogram) {
    this.waveform = waveform;
    this.spectrogram = spectrogram;
    this.#worker.onmessage = ({ data }) => {
      this.#waiting.get(data.ticket)(data.picture);
      this.#waiting.delete(data.ticket);
    };
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
    byId("legend-low").textContent = `${levelText(-RANGE_DB, { digits: 0 })} dB`;
    new ResizeObserver(() => this.redraw()).observe(waveform);
  }

  /** Show a version called `name` whose highest sample is played at `peak_dbfs`. */
  show(buffer, peak_dbfs, name) {
    this.#shown = { buffer, peak_dbfs, name };
    this.redraw();
  }

  clear() {
    this.#shown = null;
    byId("wave-peak").textContent = "";
    for (const canvas of [this.waveform, this.spectrogram]) sized(canvas).clearRect(0, 0, canvas.width, canvas.height);
  }

  redraw() {
    if (!this.#shown) return;
    this.#drawWaveform(this.#shown);
    this.#drawSpectrogram(this.#shown);
  }

  /** Each version fills the height, so that soft ones show their shape; the number beside it tells how high that is. */
  #drawWaveform({ buffer, peak_dbfs, name }) {
    if (!this.#envelopes.has(buffer)) this.#envelopes.set(buffer, envelope(buffer));
    const { low, high, rms, tallest } = this.#envelopes.get(buffer);
    const pen = sized(this.waveform);
    const { width, height } = this.waveform;
    const style = getComputedStyle(this.waveform);
    const [middle, step] = [height / 2, width / COLUMNS];
    const scale = tallest > 0 ? (middle - 2) / tallest : 0;
    const y = (value) => middle - value * scale;
    const band = (top, bottom, colour) => {
      pen.fillStyle = colour;
      for (let i = 0; i < COLUMNS; i += 1) {
        pen.fillRect(i * step, y(top(i)), Math.max(1, step), Math.max(1, y(bottom(i)) - y(top(i))));
      }
    };
    pen.clearRect(0, 0, width, height);
    band((i) => high[i], (i) => low[i], style.getPropertyValue("--wave-peak"));
    band((i) => rms[i], (i) => -rms[i], style.getPropertyValue("--wave-rms"));
    const peak = levelText(peak_dbfs);
    byId("wave-peak").textContent = peak;
    this.waveform.setAttribute("aria-label", `Waveform of ${name}, ${buffer.duration.toFixed(1)} seconds, peak ${peak} dBFS`);
  }

  async #drawSpectrogram(shown) {
    const picture = await this.#spectrogramOf(shown.buffer);
    if (this.#shown !== shown) return;
    const table = coloursOf(this.spectrogram);
    const image = new ImageData(picture.columns, picture.rows);
    for (let column = 0; column < picture.columns; column += 1) {
      for (let row = 0; row < picture.rows; row += 1) {
        const place = 4 * ((picture.rows - 1 - row) * picture.columns + column);
        image.data.set(table[picture.levels[column * picture.rows + row]], place);
        image.data[place + 3] = 255;
      }
    }
    const small = new OffscreenCanvas(picture.columns, picture.rows);
    small.getContext("2d").putImageData(image, 0, 0);
    const pen = sized(this.spectrogram);
    pen.imageSmoothingEnabled = true;
    pen.drawImage(small, 0, 0, this.spectrogram.width, this.spectrogram.height);
    const bulk = picture.to_hz
      ? `nine tenths of its power lie between ${frequencyText(picture.from_hz)} and ${frequencyText(picture.to_hz)}`
      : "it is silent";
    this.spectrogram.setAttribute("aria-label", `Spectrogram of ${shown.name}: ${bulk}`);
  }

  /** Computed once for each buffer, in the worker. */
  #spectrogramOf(buffer) {
    if (!this.#spectrograms.has(buffer)) {
      const samples = mono(buffer);
      const ticket = (this.#ticket += 1);
      const coming = new Promise((resolve) => this.#waiting.set(ticket, resolve));
      this.#spectrograms.set(buffer, coming);
      const task = { ticket, samples, rate: buffer.sampleRate, columns: COLUMNS, rows: ROWS };
      this.#worker.postMessage(task, [samples.buffer]);
    }
    return this.#spectrograms.get(buffer);
  }
}
