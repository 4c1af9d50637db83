/** Spectrograms are computed beside the page, so that it stays quick. */

import { spectrogram } from "./room_fft.js";

onmessage = ({ data: { ticket, samples, rate, columns, rows } }) => {
  const picture = spectrogram(samples, rate, columns, rows);
  postMessage({ ticket, picture }, [picture.levels.buffer]);
};
