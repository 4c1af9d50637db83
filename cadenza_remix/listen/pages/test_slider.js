// A slider from 0 to 100 that has no value until the participant gives it one.

import { make } from "./test_dom.js";

/** The five words of ITU-R BS.1534, best first, and the lowest value of each. */
export const WORDS = [["Excellent", 80], ["Good", 60], ["Fair", 40], ["Poor", 20], ["Bad", 0]];

export const wordFor = (value) => WORDS.find(([, lowest]) => value >= lowest)[0];

const MIDDLE = 50;

/** "62, Good" or "62 of 100". */
const spoken = (value, inWords) => (inWords ? `${value}, ${wordFor(value)}` : `${value} of 100`);

export class RatingSlider {
  /** name: what a screen reader calls it; inWords: five words (MUSHRA) or two ends; onrate(value) on each change. */
  constructor({ name, inWords, value, onrate, describedBy = null }) {
    this.inWords = inWords;
    this.onrate = onrate;
    this.value = null;
    this.input = make("input", {
      type: "range", min: 0, max: 100, step: 1, value: MIDDLE, class: "rating", "aria-label": name,
      "aria-describedby": describedBy, autocomplete: "off",
    });
    this.number = make("output", { class: "rating-number", "aria-hidden": true }, "–");
    this.word = make("span", { class: "rating-word", "aria-hidden": true }, "not rated");
    this.listen();
    this.show(value);
  }

  listen() {
    const take = () => this.rate(this.input.valueAsNumber);
    this.input.addEventListener("input", take);
    // A click on the handle, or Enter, gives the value where it stands, which changes nothing and so makes no event.
    this.input.addEventListener("click", take);
    this.input.addEventListener("keydown", (event) => {
      if (event.key === "Enter") { event.preventDefault(); take(); }
    });
  }

  rate(value) {
    if (value === this.value) return;
    this.show(value);
    this.onrate(value);
  }

  show(value) {
    this.value = value;
    const unset = value === null;
    this.input.classList.toggle("unset", unset);
    this.input.value = String(unset ? MIDDLE : value);
    this.input.setAttribute("aria-valuetext", unset ? "not rated yet" : spoken(value, this.inWords));
    this.number.textContent = unset ? "–" : String(value);
    this.word.textContent = unset ? "not rated" : (this.inWords ? wordFor(value) : "");
  }
}
