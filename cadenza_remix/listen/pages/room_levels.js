/**
 * How loud each version is played: no version louder than another where that is asked for, and nothing ever too loud.
 */

import { decibels, linear } from "./room_text.js";

export const TARGET_LUFS = -20;
export const LOUDEST_LUFS = -16;
/** A little below full scale: converters overshoot between samples. */
export const CEILING_DBFS = -0.3;
/** What is nearly silent is not drawn out of its noise. */
export const MOST_GAIN_DB = 30;

/**
 * Linear gains by version. Matched: each one comes to one loudness. Not matched: all keep their true relation. Then one
 * gain for all, never above 1, keeps every peak below full scale and the loudest version at a safe loudness.
 *
 * @param {Map<string, {loudness_lufs: number|null, peak_lin: number}>} clips
 */
export function gainsFor(clips, isMatched) {
  const own = new Map();
  for (const [id, { loudness_lufs }] of clips) {
    own.set(id, isMatched && loudness_lufs !== null ? Math.min(MOST_GAIN_DB, TARGET_LUFS - loudness_lufs) : 0);
  }
  let common = 0;
  for (const [id, { loudness_lufs, peak_lin }] of clips) {
    if (loudness_lufs !== null) common = Math.min(common, LOUDEST_LUFS - loudness_lufs - own.get(id));
    if (peak_lin > 0) common = Math.min(common, CEILING_DBFS - decibels(peak_lin) - own.get(id));
  }
  return new Map([...own].map(([id, db]) => [id, linear(db + common)]));
}
