// What a participant has done on the present page and not yet confirmed, kept in this tab: a reload loses nothing.

const PREFIX = "cadenza-remix:draft:";

export class Draft {
  /** The draft of one page; drafts of other pages of this participant are confirmed or void, so they go. */
  constructor(token, { trial, isTraining }) {
    const own = `${PREFIX}${token}:`;
    this.key = `${own}${isTraining ? "training" : "trial"}:${trial}`;
    for (const key of Object.keys(sessionStorage)) {
      if (key.startsWith(own) && key !== this.key) sessionStorage.removeItem(key);
    }
    // `answer` is set once Confirm was pressed and until the server has said that it is saved.
    this.data = { ratings: {}, plays: {}, seconds: 0, answer: null, ...this.read() };
  }

  read() {
    try {
      return JSON.parse(sessionStorage.getItem(this.key)) ?? {};
    } catch {
      return {};
    }
  }

  save() {
    try {
      sessionStorage.setItem(this.key, JSON.stringify(this.data));
    } catch {
      // Storage may be full or forbidden: the page still works, only a reload would lose the draft.
    }
  }

  rating(label, scale) { return this.data.ratings[label]?.[scale] ?? null; }

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

  forget() { sessionStorage.removeItem(this.key); }
}

/** The volume of this tab, which may have been made lower since the level check. */
export function rememberedVolume(token) {
  const value = Number.parseFloat(sessionStorage.getItem(`cadenza-remix:volume:${token}`));
  return Number.isFinite(value) ? value : null;
}

export function rememberVolume(token, volume) {
  try {
    sessionStorage.setItem(`cadenza-remix:volume:${token}`, String(volume));
  } catch {
    // As above: without storage the volume of the level check comes back on reload.
  }
}
