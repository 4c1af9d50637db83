// What a participant listens to and answers on one page: a board for each type of test. A board knows its stimuli's
// buttons and answers; playing and saving are the page's.

import { make, setText } from "./test_dom.js";
import { RatingSlider, WORDS } from "./test_slider.js";

/** The button that plays one stimulus and tells whether it is heard now and has been heard. */
class PickButton {
  constructor(label, onpick) {
    this.label = label;
    this.mark = make("span", { class: "mark", "aria-hidden": true });
    this.heard = make("span", { class: "pick-heard" });
    this.element = make(
      "button",
      { type: "button", class: "pick", "aria-pressed": "false", "aria-keyshortcuts": label, "data-label": label },
      this.mark, make("span", { class: "visually-hidden" }, "Play stimulus "),
      make("span", { class: "pick-label" }, label), this.heard,
    );
    this.element.addEventListener("click", () => onpick(label));
  }

  show({ isSelected, isPlaying, isHeard }) {
    this.element.setAttribute("aria-pressed", String(isSelected));
    setText(this.mark, isSelected && isPlaying ? "▶" : "");
    setText(this.heard, isHeard ? "✓ heard" : "not heard");
  }
}

class Board {
  /** page: {trial, draft, pick(label), changed()} */
  constructor(page) {
    this.page = page;
    this.labels = page.trial.stimuli.map(({ label }) => label);
    this.picks = new Map(this.labels.map((label) => [label, new PickButton(label, (picked) => page.pick(picked))]));
    this.controls = new Map();
    this.element = this.build();
  }

  /** A group named for its stimulus, so that a screen reader tells where one is. */
  group(label, className, ...children) {
    return make("div", { class: className, role: "group", "aria-label": `Stimulus ${label}` }, ...children);
  }

  slider(label, scale, extra) {
    const { draft } = this.page;
    const slider = new RatingSlider({
      ...extra,
      value: draft.rating(label, scale),
      onrate: (value) => { draft.rate(label, scale, value); this.page.changed(); },
    });
    if (!this.controls.has(label)) this.controls.set(label, slider.input);
    return slider;
  }

  /** Where the keyboard goes when a stimulus is chosen by its key. */
  control(label) { return this.controls.get(label) ?? this.picks.get(label).element; }

  show({ selected, isPlaying }) {
    for (const [label, pick] of this.picks) {
      pick.show({ isSelected: label === selected, isPlaying, isHeard: this.page.draft.plays(label) > 0 });
    }
  }

  /** The scales of every stimulus. */
  get scales() { return this.page.trial.scales.map(({ id }) => id); }

  /** What is still to be done before the page can be confirmed: short phrases. */
  missing() {
    const { draft } = this.page;
    const unheard = this.labels.filter((label) => draft.plays(label) === 0);
    const unrated = this.labels.filter((label) => this.scales.some((scale) => draft.rating(label, scale) === null));
    const phrases = [];
    if (unheard.length) phrases.push(`listen to ${unheard.join(", ")}`);
    if (unrated.length) phrases.push(this.unrated(unrated));
    return phrases;
  }

  unrated(labels) { return `rate ${labels.join(", ")}`; }

  /** {label: {scale: value}} as the server takes it. */
  ratings() {
    const { draft } = this.page;
    const of = (label) => Object.fromEntries(this.scales.map((scale) => [scale, draft.rating(label, scale)]));
    return Object.fromEntries(this.labels.map((label) => [label, of(label)]));
  }

  hint() { return ""; }
}

/** ITU-R BS.1534: one scale of quality with five words, against an open reference. */
export class MushraBoard extends Board {
  static task = "Compare every stimulus with the reference and rate its quality. One of the stimuli is the reference "
    + "itself, hidden among the others: find it and rate it 100.";

  get scales() { return ["quality"]; }

  build() {
    const axis = make("ol", { class: "mushra-axis", "aria-hidden": true },
      ...WORDS.map(([word, lowest]) => make("li", {}, word, make("span", {}, `${lowest}–${lowest + 20}`))));
    const columns = this.labels.map((label) => this.column(label));
    return make("div", { class: "mushra" }, axis, ...columns);
  }

  column(label) {
    const slider = this.slider(label, "quality", { name: `Stimulus ${label}, quality`, inWords: true });
    slider.input.setAttribute("aria-orientation", isWide.matches ? "vertical" : "horizontal");
    const words = make("ol", { class: "mushra-words", "aria-hidden": true },
      ...[...WORDS].reverse().map(([word]) => make("li", {}, word)));
    return this.group(label, "mushra-stimulus",
      this.picks.get(label).element,
      make("div", { class: "mushra-slider" }, slider.input, words),
      make("div", { class: "mushra-value" }, slider.number, slider.word));
  }

  hint() {
    const values = this.labels.map((label) => this.page.draft.rating(label, "quality"));
    if (values.includes(null) || values.includes(100)) return "";
    return "None is rated 100 yet: one of them is the reference itself. You can confirm all the same.";
  }
}

/** The same width at which test_boards.css turns the sliders. */
const isWide = window.matchMedia("(min-width: 48rem)");
isWide.addEventListener("change", () => {
  for (const input of document.querySelectorAll(".mushra .rating")) {
    input.setAttribute("aria-orientation", isWide.matches ? "vertical" : "horizontal");
  }
});

/** Cadenza's panel scales: several sliders for each stimulus, without a reference. */
export class ScalesBoard extends Board {
  static task = "Listen to each stimulus and move every slider to the place that fits what you hear.";

  build() {
    return make("div", { class: "scales" }, ...this.labels.map((label) => this.card(label)));
  }

  card(label) {
    const rows = this.page.trial.scales.map((scale) => this.row(label, scale));
    const pick = this.picks.get(label).element;
    return this.group(label, "scales-stimulus", pick, make("div", { class: "scales-rows" }, ...rows));
  }

  row(label, scale) {
    const name = `Stimulus ${label}, ${scale.label.toLowerCase()}, from ${scale.low} to ${scale.high}`;
    const slider = this.slider(label, scale.id, { name, inWords: false });
    return make("div", { class: "scales-row" },
      make("span", { class: "scales-name", "aria-hidden": true }, scale.label),
      make("span", { class: "scales-value" }, slider.number, slider.word),
      make("span", { class: "scales-low", "aria-hidden": true }, scale.low),
      slider.input,
      make("span", { class: "scales-high", "aria-hidden": true }, scale.high));
  }

  unrated(labels) {
    const { draft } = this.page;
    const names = (label) => this.page.trial.scales.filter(({ id }) => draft.rating(label, id) === null)
      .map((scale) => scale.label.toLowerCase());
    return labels.map((label) => `rate ${label} (${names(label).join(", ")})`).join("; ");
  }
}

/** Which of two sounds better. */
export class ChoiceBoard extends Board {
  static task = "Listen to both and choose the one that sounds better to you.";

  get scales() { return ["preference"]; }

  build() {
    const picks = this.labels.map((label) => this.picks.get(label).element);
    const players = make("div", { class: "choice-players" }, ...picks);
    const options = this.labels.map((label) => [label, `${label} sounds better`]);
    if (this.page.allowsNoPreference) options.push(["none", "No preference"]);
    const group = make("fieldset", { class: "choice-answers" }, make("legend", {}, "Which sounds better?"),
      ...options.map(([choice, text]) => this.option(choice, text)));
    return make("div", { class: "choice" }, players, group);
  }

  option(choice, text) {
    const input = make("input", { type: "radio", name: "preference", value: choice, autocomplete: "off" });
    input.checked = this.chosen() === choice;
    input.addEventListener("change", () => this.choose(choice));
    return make("label", { class: "choice-option" }, input, make("span", {}, text));
  }

  /** The label that is preferred, "none", or null while nothing is chosen. */
  chosen() {
    const values = this.labels.map((label) => this.page.draft.rating(label, "preference"));
    if (values.includes(null)) return null;
    return this.labels[values.indexOf(1)] ?? "none";
  }

  choose(choice) {
    for (const label of this.labels) {
      this.page.draft.rate(label, "preference", choice === "none" ? 0.5 : Number(choice === label));
    }
    this.page.changed();
  }

  unrated() { return "choose which sounds better"; }
}

export const BOARDS = { mushra: MushraBoard, scales: ScalesBoard, ab: ChoiceBoard };
