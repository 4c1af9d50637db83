// A listening test of one participant. Where they are is the server's to say: this page asks, shows, and asks again.

import { BOARDS } from "./test_boards.js";
import { announce, byId, fillWithParagraphs, setText, showView } from "./test_dom.js";
import { checkLevel, loadTone } from "./test_level.js";
import { createContext } from "./player.js";
import { draftOf, loadSounds, TrialPage } from "./test_trial.js";
import { QuestionsPage } from "./test_questions.js";
import { Refused, Server, Troubled } from "./test_server.js";

const token = decodeURIComponent(location.pathname.split("/").filter(Boolean).at(-1));

const server = new Server(token, {
  onaway(attempt, error) {
    const why = error instanceof Troubled ? `The server says: ${error.message}.` : "The server does not answer.";
    const kept = session.isSaving ? "Your answer is not saved yet; it is kept here. " : "";
    byId("away").hidden = false;
    setText(byId("away-text"), `${kept}${why} Trying again … (attempt ${attempt})`);
  },
  onback() {
    byId("away").hidden = true;
    announce("The server answers again.");
  },
});
byId("away-retry").addEventListener("click", () => server.tryNow());

const session = { token, server, context: null, state: null, level: null, isSaving: false };

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

/** Pages that count, and how many of them are answered: the training does not count. */
const pagesOf = ({ n_trials: nTrials, n_done: nDone, n_training: nTraining }) => ({
  all: nTrials - nTraining, done: Math.max(0, nDone - nTraining),
});

function showHeader(state) {
  const { all, done } = pagesOf(state);
  document.title = state.title;
  setText(byId("title"), state.title);
  byId("progress").hidden = !["trial", "break", "questions", "done"].includes(state.state);
  byId("progress-bar").max = Math.max(1, all);
  byId("progress-bar").value = done;
  setText(byId("progress-text"), `${done} of ${all} pages done`);
}

async function welcome(state) {
  const { all } = pagesOf(state);
  const training = state.n_training ? ", after a training that does not count" : "";
  fillWithParagraphs(byId("instructions"), state.instructions || BOARDS[state.type].task);
  setText(byId("notice"), state.notice);
  setText(byId("welcome-size"), `The test has ${all} ${all === 1 ? "page" : "pages"}${training}. `
    + (state.n_questions ? "A few questions follow at the end. " : "")
    + "You can close it at any time and go on later with the same link.");
  showView("welcome");
  await pressed(byId("begin"));
  await server.begin();
}

async function level(state) {
  const tone = { url: state.level_tone_url, gain: state.level_tone_gain_lin };
  const player = await server.patiently(() => loadTone(context(), tone));
  await server.setLevel(await checkLevel(player));
}

async function trial() {
  showView("loading");
  setText(byId("loading-text"), "Loading the sounds …");
  const given = await server.trial((page) => loadSounds(context(), page, (done, all) => {
    setText(byId("loading-text"), `Loading the sounds: ${done} of ${all}`);
  }));
  const draft = draftOf(token, given.trial);
  const end = await new TrialPage(session, given.trial, given.sounds, draft).run();
  announce(end === "saved" ? "Saved." : "This page had been answered before; going on.");
}

async function goOn(view) {
  showView(view);
  await pressed(...document.querySelectorAll(`#view-${view} [data-continue]`));
  await server.goOn();
}

async function questions(state) {
  const end = await new QuestionsPage(session, state.questions).run();
  announce(end === "saved" ? "Saved." : "The questions had been answered before.");
}

const STATES = {
  welcome, level, training: trial, trial, questions,
  ready: () => goOn("ready"),
  break: async (state) => {
    const { all, done } = pagesOf(state);
    setText(byId("break-text"), `${done} of ${all} pages are done and saved.`);
    await goOn("break");
  },
};

function showGone(error) {
  if (error.status !== 404) {
    setText(document.querySelector("#view-gone h2"), "Something went wrong");
    setText(byId("gone-text"), `What was confirmed is saved. Please load the page again. (${error.message})`);
  }
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
