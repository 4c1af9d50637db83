// The questions after the last page: one form. The words are the organiser's and enter as text only.

import { allow, byId, isAllowed, make, setText, showView } from "./test_dom.js";
import { QuestionsDraft } from "./test_draft.js";
import { SentPage } from "./test_sending.js";

const LONGEST_ANSWER = 2000;
const NUMBER = /^[+\-−]?(\d+([.,]\d*)?|[.,]\d+)$/;
/** A thousand to some and one to others: whoever writes it is asked again. */
const AMBIGUOUS = /^[+\-−]?[1-9]\d{0,2},\d{3}$/;
/** What the server takes no text with. A form feed comes along when something is copied from a PDF, half a character
 * when an emoji is cut. */
const UNPRINTABLE = /[\u0000-\u0008\u000b-\u001f\u007f]|\p{Cs}/gu;
const SEND = "Send and finish";

/** One question: its controls, what is written in them, and what is wrong with it. */
class Question {
  /** asked: {id, text, kind, required, choices, min, max} of the server; place: counts from 0. */
  constructor(asked, place, draft) {
    Object.assign(this, { asked, draft, key: `question-${place}` });
    this.fault = make("p", { class: "question-fault", id: `${this.key}-fault`, hidden: true });
  }

  get value() { return this.draft.value(this.asked.id); }

  /** The words of the question, and whether it needs an answer. */
  words() {
    return [make("span", { class: "question-text" }, this.asked.text),
      make("span", { class: "question-need" }, this.asked.required ? " (required)" : " (optional)")];
  }

  /** Keeps what was entered; a fault that was shown goes as soon as it is mended. */
  enter(value) {
    this.draft.keep(this.asked.id, value);
    if (!this.fault.hidden && !this.wrong()) this.show("");
  }

  /** Shows what is wrong beside the question, or that nothing is. */
  show(wrong) {
    setText(this.fault, wrong && `Error: ${wrong}`);
    this.fault.hidden = !wrong;
    for (const element of this.marked) {
      if (wrong) element.setAttribute("aria-invalid", "true");
      else element.removeAttribute("aria-invalid");
    }
  }

  focus() { this.controls[0].focus(); }

  /** What is wrong in words; empty where nothing is. */
  wrong() {
    if (this.answer() === null && this.isEmpty()) return this.asked.required ? this.missing : "";
    return this.wrongValue();
  }

  wrongValue() { return ""; }

  isEmpty() { return this.value.trim() === ""; }

  /** As the server takes it; null for none. */
  answer() { return this.isEmpty() ? null : this.value; }

  field(control, hint = "") {
    const hintId = `${this.key}-hint`;
    control.id = this.key;
    control.value = this.value;
    control.setAttribute("aria-describedby", hint ? `${hintId} ${this.fault.id}` : this.fault.id);
    control.addEventListener("input", () => this.enter(control.value));
    this.controls = [control];
    this.marked = [control];
    const label = make("label", { for: this.key }, ...this.words());
    const below = hint ? [make("p", { class: "hint", id: hintId }, hint)] : [];
    return make("div", { class: "question" }, label, ...below, control, this.fault);
  }
}

class TextQuestion extends Question {
  missing = "please write an answer.";

  build() { return this.field(make("textarea", { rows: 3, autocomplete: "off" })); }

  answer() {
    const text = this.value.replace(UNPRINTABLE, " ").trim();
    return text === "" ? null : text;
  }

  wrongValue() {
    const length = [...this.answer() ?? ""].length;
    return length > LONGEST_ANSWER ? `this has ${length} characters; at most ${LONGEST_ANSWER} can be sent.` : "";
  }
}

class NumberQuestion extends Question {
  missing = "please enter a number.";

  /** A field of text: one of type number tells some browsers' pages nothing of what was typed and is no number. */
  build() {
    const { min } = this.asked;
    // The keypad for numbers has no minus on some phones.
    const inputmode = min !== undefined && min >= 0 ? "decimal" : "text";
    return this.field(make("input", { type: "text", inputmode, autocomplete: "off" }), this.range());
  }

  range() {
    const { min, max } = this.asked;
    if (min !== undefined && max !== undefined) return `A number from ${min} to ${max}.`;
    if (min !== undefined) return `A number, ${min} or more.`;
    return max !== undefined ? `A number, at most ${max}.` : "A number.";
  }

  answer() {
    const text = this.value.trim();
    return NUMBER.test(text) && !AMBIGUOUS.test(text) ? Number(text.replace("−", "-").replace(",", ".")) : null;
  }

  wrongValue() {
    const { min = -1e15, max = 1e15 } = this.asked;
    const answer = this.answer();
    if (answer !== null && answer >= min && answer <= max) return "";
    return `${this.range().replace(/^A/, "expected a").replace(/\.$/, "")}, found ${this.value.trim()}.`;
  }
}

class ChoiceQuestion extends Question {
  missing = "please choose one.";

  build() {
    this.clear = this.clearing();
    this.controls = this.asked.choices.map((choice) => this.radio(choice));
    const options = this.controls.map((radio, place) => make("label", { class: "question-option" }, radio,
      make("span", {}, this.asked.choices[place])));
    const group = make("fieldset", { class: "question", role: "radiogroup", "aria-describedby": this.fault.id },
      make("legend", {}, ...this.words()), ...options, this.clear, this.fault);
    this.marked = [group];
    return group;
  }

  radio(choice) {
    const radio = make("input", { type: "radio", name: this.key, value: choice, autocomplete: "off" });
    radio.checked = this.value === choice;
    radio.addEventListener("input", () => {
      this.enter(choice);
      this.clear.hidden = this.asked.required;
    });
    return radio;
  }

  /** A browser lets nobody take a choice back. */
  clearing() {
    const clear = make("button", { type: "button", class: "question-clear" }, "Take the choice back");
    clear.hidden = this.asked.required || this.isEmpty();
    clear.addEventListener("click", () => {
      for (const radio of this.controls) radio.checked = false;
      this.enter("");
      this.focus();
      clear.hidden = true;
    });
    return clear;
  }

  focus() { (this.controls.find((radio) => radio.checked) ?? this.controls[0]).focus(); }
}

const KINDS = { text: TextQuestion, number: NumberQuestion, choice: ChoiceQuestion };

const intro = (questions) => {
  const nRequired = questions.filter(({ required }) => required).length;
  if (nRequired === questions.length) return "Your ratings are saved. Please answer this as well to finish.";
  if (nRequired === 0) return "Your ratings are saved. You may leave empty here what you do not want to answer.";
  return "Your ratings are saved. Please answer what is marked as required; the rest you may leave empty.";
};

/** The form with all questions. */
export class QuestionsPage extends SentPage {
  /** session: {token, server, isSaving}; questions as the server gives them. */
  constructor(session, questions) {
    super(session, new QuestionsDraft(session.token));
    this.questions = questions.map((asked, place) => new KINDS[asked.kind](asked, place, this.draft));
    setText(byId("questions-intro"), intro(questions));
    byId("questions").replaceChildren(...this.questions.map((question) => question.build()));
  }

  build() {
    const { signal } = this.ending;
    const form = byId("questions-form");
    form.addEventListener("submit", (event) => { event.preventDefault(); this.submit(); }, { signal });
    form.addEventListener("input", () => {
      if (this.questions.every(({ fault }) => fault.hidden)) setText(byId("questions-why"), "");
    }, { signal });
    this.offer("");
    showView("questions");
  }

  submit() {
    if (!isAllowed(byId("questions-send"))) return;
    for (const question of this.questions) question.show(question.wrong());
    const wrong = this.questions.filter((question) => question.wrong());
    if (wrong.length) {
      // The first of them has the focus, and tells what is wrong with it; this tells that there are more.
      setText(byId("questions-why"), wrong.length === 1 ? "Not sent yet: one question needs an answer or a correction."
        : `Not sent yet: ${wrong.length} questions need an answer or a correction.`);
      wrong[0].focus();
      return;
    }
    const given = this.questions.map((question) => [question.asked.id, question.answer()]);
    byId("questions-send").focus(); // what is asked is out of reach from now on
    this.confirmed(Object.fromEntries(given.filter(([, answer]) => answer !== null)));
  }

  post(answer) { return this.session.server.answerQuestions(answer); }

  lock() {
    byId("questions").inert = true;
    allow(byId("questions-send"), false);
    setText(byId("questions-send"), "Saving …");
    setText(byId("questions-why"), "Saving your answers …");
  }

  unlock({ status, message }) {
    this.offer(`Not saved: ${status === 413 ? "the texts are too long together. Please shorten them." : message}`);
  }

  /** What is asked can be answered, and sent. */
  offer(why) {
    byId("questions").inert = false;
    allow(byId("questions-send"), true);
    setText(byId("questions-send"), SEND);
    setText(byId("questions-why"), why);
  }
}
