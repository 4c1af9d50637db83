/** How numbers read. */

const MINUS = "\u2212";

export function timeText(seconds, digits = 1) {
  const unit = 10 ** digits;
  const all = Math.round(Math.max(0, seconds) * unit);
  const minutes = Math.floor(all / (60 * unit));
  const rest = ((all - minutes * 60 * unit) / unit).toFixed(digits);
  return `${minutes}:${rest.padStart(digits ? digits + 3 : 2, "0")}`;
}

/** A level with a true minus sign; nothing below `floor` is told apart. */
export function levelText(db, { digits = 1, floor = -100 } = {}) {
  if (db === null || !(db > floor)) return `${MINUS}\u221e`;
  const text = Math.abs(db).toFixed(digits);
  return Number(text) !== 0 && db < 0 ? MINUS + text : text;
}

export function frequencyText(hz) {
  return hz >= 1000 ? `${Number((hz / 1000).toFixed(1))} kHz` : `${Math.round(hz)} Hz`;
}

export const decibels = (lin) => 20 * Math.log10(Math.max(lin, 1e-10));
export const linear = (db) => 10 ** (db / 20);

/** What a chain does after demixing, in a few words. */
export function chainText(chain) {
  const { nalr, compressor, band_pass: band } = chain;
  const parts = [nalr ? "NAL-R" : null, compressor ? "compressor" : null];
  if (band) parts.push(`${frequencyText(band.low_hz)}–${frequencyText(band.high_hz)}`);
  return parts.filter(Boolean).join(", ") || "plain sum";
}

/** Degrees of hearing loss as an audiologist names them, by the level of one frequency. */
export function degreeText(db_hl) {
  if (db_hl < 20) return "normal";
  if (db_hl < 35) return "mild loss";
  if (db_hl < 50) return "moderate loss";
  if (db_hl < 65) return "moderately severe loss";
  if (db_hl < 80) return "severe loss";
  return "profound loss";
}
