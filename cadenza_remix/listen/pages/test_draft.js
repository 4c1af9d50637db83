// What a participant has done on the present page and not yet confirmed, kept in this tab: a reload loses nothing.

const PREFIX = "cadenza-remix:draft:";
/** Of a page that was left open for longer the server takes no answer. */
const MOST_SECONDS = 7 * 86400;

/** The tab's storage. It may be full or forbidden: the page still works, only a reload would lose the draft. */
function stored(action) {
  try {
    return action(sessionStorage);
  } catch {
    return null;
  }
}

const own = (object, key) => (Object.hasOwn(object ?? {}, key) ? object[key] : null);

class KeptDraft {
  /** The draft of one page; drafts of other pages of this participant are confirmed or void, so they go. */
  constructor(token, page, empty) {
    const mine = `${PREFIX}${token}:`;
    this.key = `${mine}${page}`;
    for (const key of stored((storage) => Object.keys(storage)) ?? []) {
      if (key.startsWith(mine) && key !== this.key) stored((storage) => storage.removeItem(key));
    }
    // `answer` is set once Confirm was pressed and until the server has said that it is saved.
    const known = stored((storage) => JSON.parse(storage.getItem(this.key)));
    this.data = { ...empty, answer: null, ...known };
  }

  save() { stored((storage) => storage.setItem(this.key, JSON.stringify(this.data))); }

  clearAnswer() {
    this.data.answer = null;
    this.save();
  }

  forget() { stored((storage) => storage.removeItem(this.key)); }
}

/** Ratings of a trial, and how often its stimuli were heard. */
export class Draft extends KeptDraft {
  constructor(token, { trial, isTraining }) {
    super(token, `${isTraining ? "training" : "trial"}:${trial}`, { ratings: {}, plays: {}, seconds: 0 });
  }

  rating(label, scale) { return own(own(this.data.ratings, label), scale); }

  rate(label, scale, value) {
    this.data.ratings[label] = { ...this.data.ratings[label], [scale]: value };
    this.save();
  }

  plays(label) { return this.data.plays[label] ?? 0; }

  countPlay(label) {
    this.data.plays[label] = this.plays(label) + 1;
    this.save();
  }

  keepTime(seconds) {
    this.data.seconds = Math.min(Math.round(10 * seconds) / 10, MOST_SECONDS);
    this.save();
  }
}

/** What is written and chosen in the form of questions. */
export class QuestionsDraft extends KeptDraft {
  constructor(token) { super(token, "questions", { values: [] }); }

  /** By id; pairs, as an object takes some ids for names of its own. */
  value(id) { return this.data.values.find(([known]) => known === id)?.[1] ?? ""; }

  keep(id, value) {
    this.data.values = [...this.data.values.filter(([known]) => known !== id), [id, value]];
    this.save();
  }
}

const volumeKey = (token) => `cadenza-remix:volume:${token}`;

/** The volume of this tab, which may have been made lower since the level check. */
export function rememberedVolume(token) {
  const value = Number.parseFloat(stored((storage) => storage.getItem(volumeKey(token))));
  return Number.isFinite(value) ? value : null;
}

export function rememberVolume(token, volume) {
  stored((storage) => storage.setItem(volumeKey(token), String(volume)));
}
