// A listening test of one participant. Where they are is the server's to say: this page asks, shows, and asks again.

import { announce, byId, fillWithParagraphs, setText, showView } from "./test_dom.js";
import { checkLevel, loadTone } from "./test_level.js";
import { createContext } from "./player.js";
import { draftOf, loadSounds, TrialPage } from "./test_trial.js";
import { Refused, Server } from "./test_server.js";

const token = decodeURIComponent(location.pathname.split("/").filter(Boolean).at(-1));

const isSaving = () => byId("confirm").textContent.startsWith("Saving");

const server = new Server(token, {
  onaway(attempt) {
    const what = isSaving() ? "Your answer is not saved yet: the server does not answer. It is kept here."
      : "The server does not answer.";
    byId("away").hidden = false;
    setText(byId("away-text"), `${what} Trying again … (attempt ${attempt})`);
  },
  onback() {
    byId("away").hidden = true;
    announce("The server answers again.");
  },
});
byId("away-retry").addEventListener("click", () => server.tryNow());

const session = { token, server, context: null, state: null, level: null };

/** Made late and once: browsers hold a context that no click has asked for. */
function context() {
  session.context ??= createContext();
  return session.context;
}

/** Resolves when one of the buttons is pressed. */
function pressed(...buttons) {
  const ending = new AbortController();
  return new Promise((resolve) => {
    for (const button of buttons) {
      button.addEventListener("click", () => { ending.abort(); resolve(); }, { signal: ending.signal });
    }
  });
}

function showHeader({ title, n_done: nDone, n_trials: nTrials, state }) {
  document.title = title;
  setText(byId("title"), title);
  byId("progress").hidden = ["welcome", "level"].includes(state);
  byId("progress-bar").max = Math.max(1, nTrials);
  byId("progress-bar").value = nDone;
  setText(byId("progress-text"), `${nDone} of ${nTrials} pages done`);
}

async function welcome({ instructions, notice, n_trials: nTrials }) {
  fillWithParagraphs(byId("instructions"), instructions);
  setText(byId("notice"), notice);
  setText(byId("welcome-size"), `The test has ${nTrials} ${nTrials === 1 ? "page" : "pages"}. You can close it at any time `
    + "and go on later with the same link.");
  showView("welcome");
  await pressed(byId("begin"));
  await server.begin();
}

async function level(state) {
  const tone = { url: state.level_tone_url, gain: state.level_tone_gain_lin ?? 1 };
  const player = await server.patiently(() => loadTone(context(), tone));
  await server.setLevel(await checkLevel(player));
}

async function trial() {
  showView("loading");
  setText(byId("loading-text"), "Loading the sounds …");
  const given = await server.trial();
  const draft = draftOf(token, given);
  const player = await server.patiently(() => loadSounds(context(), given, (done, all) => {
    setText(byId("loading-text"), `Loading the sounds: ${done} of ${all}`);
  }));
  const end = await new TrialPage(session, given, player, draft).run();
  announce(end === "saved" ? "Saved." : "This page had been answered before; going on.");
}

async function goOn(view) {
  showView(view);
  await pressed(...document.querySelectorAll(`#view-${view} [data-continue]`));
  await server.goOn();
}

const STATES = {
  welcome, level, training: trial, trial,
  ready: () => goOn("ready"),
  break: async ({ n_done: nDone, n_trials: nTrials }) => {
    setText(byId("break-text"), `${nDone} of ${nTrials} pages are done and saved.`);
    await goOn("break");
  },
};

function showGone(error) {
  if (error.status !== 404) setText(byId("gone-text"), error.message);
  byId("progress").hidden = true;
  showView("gone");
}

async function run() {
  for (;;) {
    session.state = await server.state();
    session.level = session.state.volume;
    showHeader(session.state);
    if (session.state.state === "done") break;
    try {
      await STATES[session.state.state](session.state);
    } catch (error) {
      // Another tab may have gone on: then the server's state is shown.
      if (!(error instanceof Refused) || error.status !== 409) throw error;
    }
  }
  showView("done");
}

run().catch((error) => {
  showGone(error);
  if (!(error instanceof Refused)) throw error;
});
