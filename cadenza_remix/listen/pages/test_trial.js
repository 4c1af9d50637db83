// One page of the test: sounds, answers, and confirming them.

import { BOARDS } from "./test_boards.js";
import { allow, announce, byId, isAllowed, setText, showView } from "./test_dom.js";
import { Draft, rememberVolume, rememberedVolume } from "./test_draft.js";
import { Player } from "./player.js";
import { SentPage } from "./test_sending.js";
import { Transport, showKeys } from "./test_transport.js";

export class TrialPage extends SentPage {
  /** session: {token, state, server, level, isSaving}; trial as the server gives it; player with its sounds loaded. */
  constructor(session, trial, player, draft) {
    super(session, draft);
    Object.assign(this, { trial, player });
    this.allowsNoPreference = session.state.allow_no_preference;
    // What was done before a reload counts too.
    this.started = performance.now() - 1000 * draft.data.seconds;
  }

  end() {
    super.end();
    this.player.clear();
  }

  on(element, type, action) { element.addEventListener(type, action, { signal: this.ending.signal }); }

  build() {
    const { trial } = this;
    const Board = BOARDS[this.session.state.type];
    this.board = new Board(this);
    this.showTexts(Board.task);
    byId("stimuli").replaceChildren(this.board.element);
    byId("reference").hidden = !trial.reference;
    const labels = this.board.labels.map((label) => [label, `stimulus ${label}`]);
    const names = new Map([["reference", "reference"], ...labels]);
    this.buildVolume();
    this.transport = new Transport(this.player, {
      names, onchange: () => this.changed(), signal: this.ending.signal,
    });
    showKeys({ labels: this.board.labels, hasReference: Boolean(trial.reference) });
    this.on(byId("reference"), "click", () => this.pick("reference"));
    this.on(byId("confirm"), "click", () => this.confirm());
    this.on(document, "keydown", (event) => this.key(event));
    this.on(window, "pagehide", () => this.keepTime());
    this.changed();
    showView("trial");
  }

  showTexts(task) {
    const { trial, session } = this;
    // Trials are counted through, training first.
    const { n_training: nTraining, n_trials: nTrials } = session.state;
    const place = trial.is_training ? `Training ${trial.place} of ${nTraining}`
      : `Page ${trial.place - nTraining} of ${nTrials - nTraining}`;
    setText(byId("trial-heading"), trial.song ? `${place}: ${trial.song}` : place);
    setText(byId("trial-task"), task);
    setText(byId("confirm"), "Confirm and go on");
    byId("stimuli").inert = false;
  }

  /** The volume of the level check, which may be made lower and never higher. */
  buildVolume() {
    const { token, level } = this.session;
    const slider = byId("quieter");
    slider.value = String(100 * (rememberedVolume(token) ?? 1));
    const set = () => {
      const share = slider.valueAsNumber / 100;
      rememberVolume(token, share);
      slider.setAttribute("aria-valuetext", share === 1 ? "as set before" : `${slider.value} of 100`);
      this.player.setVolume(level * share ** 2);
    };
    this.on(slider, "input", set);
    set();
  }

  pick(id) {
    const isAnew = this.player.selected !== id || !this.player.playing;
    this.transport.select(id);
    if (isAnew) announce(`Playing ${this.transport.names.get(id)}`);
  }

  /** Something was played, chosen or rated. */
  changed() {
    const { selected, playing } = this.player;
    this.countPlay(playing ? selected : null);
    this.keepTime();
    this.board.show({ selected, isPlaying: playing });
    this.showMissing();
  }

  /** Counts a stimulus each time that it begins to be heard. */
  countPlay(audible) {
    if (audible !== this.audible && this.board.labels.includes(audible)) this.draft.countPlay(audible);
    this.audible = audible;
  }

  keepTime() { this.draft.keepTime((performance.now() - this.started) / 1000); }

  showMissing() {
    if (this.session.isSaving) return;
    const missing = this.board.missing();
    allow(byId("confirm"), missing.length === 0);
    setText(byId("why"), missing.length ? `Before you can confirm: ${missing.join("; ")}.` : "Ready to confirm.");
    setText(byId("hint"), missing.length ? "" : this.board.hint());
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || this.session.isSaving) return;
    const action = this.actionOf(event);
    if (!action) return;
    event.preventDefault();
    action();
  }

  actionOf({ key, target }) {
    const letter = key.toUpperCase();
    const { labels } = this.board;
    const label = labels.includes(letter) ? letter : labels[Number.parseInt(key, 10) - 1];
    if (label) return () => { this.pick(label); this.board.control(label).focus(); };
    if (letter === "R" && this.trial.reference) return () => this.pick("reference");
    // Where space has a meaning of its own (buttons, choices), it keeps it.
    if (key === " " && !target.closest("button, summary, a, [type=radio]")) return () => this.transport.toggle();
    const loops = { "[": "loopFrom", "]": "loopTo", "\\": "reset" };
    return loops[key] ? () => this.transport[loops[key]]() : null;
  }

  confirm() {
    if (this.session.isSaving) return;
    if (!isAllowed(byId("confirm"))) {
      announce(byId("why").textContent);
      return;
    }
    this.keepTime();
    const { labels } = this.board;
    this.confirmed({
      ratings: this.board.ratings(),
      seconds: this.draft.data.seconds,
      n_plays: Object.fromEntries(labels.map((label) => [label, this.draft.plays(label)])),
    });
  }

  post(answer) { return this.session.server.confirm(this.trial.trial, answer); }

  lock() {
    this.player.pause();
    byId("stimuli").inert = true;
    allow(byId("confirm"), false);
    setText(byId("confirm"), "Saving …");
    setText(byId("why"), "Saving your answer …");
    setText(byId("hint"), "");
  }

  unlock(error) {
    byId("stimuli").inert = false;
    setText(byId("confirm"), "Confirm and go on");
    this.showMissing();
    setText(byId("why"), `Not saved: ${error.message}`);
  }
}

/** Loads the sounds of a trial, all at once; onload(done, all) after each. */
export async function loadSounds(context, trial, onload) {
  const player = new Player(context);
  const sounds = trial.stimuli.map((stimulus) => [stimulus.label, stimulus]);
  if (trial.reference) sounds.unshift(["reference", trial.reference]);
  let done = 0;
  await Promise.all(sounds.map(async ([id, { url, gain_lin: gain }]) => {
    await player.load(id, url, { gain });
    onload(done += 1, sounds.length);
  }));
  player.select(sounds[0][0]);
  return player;
}

export const draftOf = (token, trial) => new Draft(token, { trial: trial.trial, isTraining: trial.is_training });
