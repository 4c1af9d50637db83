// The level check: a tone that starts very quietly, and a volume that the participant finds comfortable.

import { allow, announce, byId, isAllowed, setText, showView } from "./test_dom.js";
import { Player } from "./player.js";

const START = 15;

/** Equal steps of the slider sound like similar steps of loudness: 15 of 100 is 33 dB below the limit. */
export const volumeOf = (position) => (position / 100) ** 2;

class LevelCheck {
  constructor(player) {
    this.player = player;
    this.hasPlayed = false;
    this.slider = byId("volume");
    this.ending = new AbortController();
  }

  on(id, type, action) { byId(id).addEventListener(type, action, { signal: this.ending.signal }); }

  run() {
    this.slider.value = String(START);
    byId("comfortable").checked = false;
    this.player.setLoop(0, this.player.duration);
    return new Promise((resolve) => {
      this.on("tone", "click", () => this.toggle());
      this.on("volume", "input", () => this.show());
      this.on("comfortable", "change", () => this.show());
      this.on("level-done", "click", () => {
        if (!isAllowed(byId("level-done"))) { announce(byId("level-why").textContent); return; }
        this.end();
        resolve(volumeOf(this.slider.valueAsNumber));
      });
      this.show();
      showView("level");
    });
  }

  end() {
    this.ending.abort();
    this.player.clear();
  }

  toggle() {
    this.player.toggle();
    this.hasPlayed = true;
    this.show();
  }

  show() {
    const { slider, player } = this;
    player.setVolume(volumeOf(slider.valueAsNumber));
    setText(byId("volume-value"), slider.value);
    slider.setAttribute("aria-valuetext", `${slider.value} of 100`);
    byId("tone").setAttribute("aria-pressed", String(player.playing));
    setText(byId("tone"), player.playing ? "Stop the test sound" : "Play the test sound");
    const why = this.missing();
    allow(byId("level-done"), why === "");
    setText(byId("level-why"), why);
  }

  missing() {
    if (!this.hasPlayed) return "Before you can go on: play the test sound.";
    if (this.slider.valueAsNumber === 0) return "Before you can go on: move the slider up until you hear the sound.";
    return byId("comfortable").checked ? "" : "Before you can go on: tick the box once the sound is comfortable.";
  }
}

/** The tone, loaded and as quiet as the level check begins. */
export async function loadTone(context, { url, gain }) {
  const player = new Player(context);
  player.setVolume(volumeOf(START));
  await player.load("tone", url, { gain });
  return player;
}

/** Resolves with the volume, linear, 0 to 1. */
export const checkLevel = (player) => new LevelCheck(player).run();
