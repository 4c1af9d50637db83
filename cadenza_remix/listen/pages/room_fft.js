/** A Fourier transform (radix 2, in place) and the spectrogram on an axis of logarithmic frequency. */

export const FFT_LENGTH = 4096;
export const LOW_HZ = 50;
export const HIGH_HZ = 16000;
export const RANGE_DB = 70;

export class Fft {
  constructor(length) {
    if (length < 2 || (length & (length - 1)) !== 0) throw new RangeError(`length ${length} is no power of two`);
    this.length = length;
    this.cosines = Float64Array.from({ length: length / 2 }, (_, k) => Math.cos((2 * Math.PI * k) / length));
    this.sines = Float64Array.from({ length: length / 2 }, (_, k) => -Math.sin((2 * Math.PI * k) / length));
    const bits = Math.log2(length);
    this.places = Uint32Array.from({ length }, (_, i) => {
      let place = 0;
      for (let bit = 0; bit < bits; bit += 1) place |= ((i >> bit) & 1) << (bits - 1 - bit);
      return place;
    });
  }

  run(real, imaginary) {
    const { length, places } = this;
    for (let i = 0; i < length; i += 1) {
      const j = places[i];
      if (j > i) {
        [real[i], real[j]] = [real[j], real[i]];
        [imaginary[i], imaginary[j]] = [imaginary[j], imaginary[i]];
      }
    }
    for (let size = 2; size <= length; size *= 2) this.#merge(real, imaginary, size);
  }

  #merge(real, imaginary, size) {
    const half = size / 2;
    const step = this.length / size;
    for (let first = 0; first < this.length; first += size) {
      for (let k = 0; k < half; k += 1) {
        const [a, b] = [first + k, first + k + half];
        const [c, s] = [this.cosines[k * step], this.sines[k * step]];
        const x = real[b] * c - imaginary[b] * s;
        const y = real[b] * s + imaginary[b] * c;
        real[b] = real[a] - x;
        imaginary[b] = imaginary[a] - y;
        real[a] += x;
        imaginary[a] += y;
      }
    }
  }
}

/** The edges of each row in bins, the lowest frequency first. */
function rowEdges(rows, rate) {
  const bin = (row) => ((LOW_HZ * (HIGH_HZ / LOW_HZ) ** (row / rows)) * FFT_LENGTH) / rate;
  return Array.from({ length: rows }, (_, row) => [bin(row), Math.min(FFT_LENGTH / 2 - 1, bin(row + 1))]);
}

/** The strongest bin of a row; where rows are narrower than bins, what lies between two of them. */
function rowPower(power, [low, high]) {
  if (high - low < 1) {
    const middle = (low + high) / 2;
    const bin = Math.floor(middle);
    return power[bin] ** (1 - middle + bin) * power[bin + 1] ** (middle - bin);
  }
  let strongest = 0;
  for (let bin = Math.round(low); bin <= Math.round(high); bin += 1) strongest = Math.max(strongest, power[bin]);
  return strongest;
}

/** The frequencies between which nine tenths of the power lie. */
function bulk(power, rate) {
  const total = power.reduce((sum, value) => sum + value, 0);
  const at = (share) => {
    let sum = 0;
    for (let bin = 0; bin < power.length; bin += 1) {
      sum += power[bin];
      if (sum >= share * total) return (bin * rate) / FFT_LENGTH;
    }
    return 0;
  };
  return total > 0 ? { from_hz: at(0.05), to_hz: at(0.95) } : { from_hz: 0, to_hz: 0 };
}

/** Levels of 0 to 255 over `RANGE_DB` below the strongest, column after column, each from the lowest row up. */
export function spectrogram(samples, rate, columns, rows) {
  const fft = new Fft(FFT_LENGTH);
  const window = Float64Array.from({ length: FFT_LENGTH }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / FFT_LENGTH));
  const [real, imaginary] = [new Float64Array(FFT_LENGTH), new Float64Array(FFT_LENGTH)];
  const edges = rowEdges(rows, rate);
  const decibels = new Float32Array(columns * rows);
  const whole = new Float64Array(FFT_LENGTH / 2 + 1);
  let strongest = -200;
  for (let column = 0; column < columns; column += 1) {
    const first = Math.round(((column + 0.5) * samples.length) / columns) - FFT_LENGTH / 2;
    for (let i = 0; i < FFT_LENGTH; i += 1) real[i] = (samples[first + i] ?? 0) * window[i];
    imaginary.fill(0);
    fft.run(real, imaginary);
    for (let bin = 0; bin < whole.length; bin += 1) {
      real[bin] = real[bin] ** 2 + imaginary[bin] ** 2;
      whole[bin] += real[bin];
    }
    for (let row = 0; row < rows; row += 1) {
      decibels[column * rows + row] = 10 * Math.log10(rowPower(real, edges[row]) + 1e-20);
    }
  }
  for (const value of decibels) strongest = Math.max(strongest, value);
  const levels = Uint8Array.from(decibels, (db) => Math.max(0, Math.round(255 * (1 + (db - strongest) / RANGE_DB))));
  return { columns, rows, levels, ...bulk(whole, rate) };
}
