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

export class Draft {
  /** The draft of one page; drafts of other pages of this participant are confirmed or void, so they go. */
  constructor(token, { trial, isTraining }) {
    const mine = `${PREFIX}${token}:`;
    this.key = `${mine}${isTraining ? "training" : "trial"}:${trial}`;
    for (const key of stored((storage) => Object.keys(storage)) ?? []) {
      if (key.startsWith(mine) && key !== this.key) stored((storage) => storage.removeItem(key));
    }
    // `answer` is set once Confirm was pressed and until the server has said that it is saved.
    const known = stored((storage) => JSON.parse(storage.getItem(this.key)));
    this.data = { ratings: {}, plays: {}, seconds: 0, answer: null, ...known };
  }

  save() { stored((storage) => storage.setItem(this.key, JSON.stringify(this.data))); }

  rating(label, scale) { return own(own(this.data.ratings, label), scale); }

  rate(label, scale, value) {
    this.data.ratings[label] = { ...this.data.ratings[label], [scale]: value };
    this.save();
  }

  clearAnswer() {
    this.data.answer = null;
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

  forget() { stored((storage) => storage.removeItem(this.key)); }
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
