// A page of the test of which the answers are sent: until the server has them, or says that it will not take them.

import { Refused } from "./test_server.js";

/** The link leads nowhere: it never did, the participant was deleted, or the test is over. */
const GONE = [401, 403, 404, 410];
/** Answered before, in another tab perhaps. */
const CONFLICT = 409;

/**
 * A page has `build()` to be shown, `post(answer)` to send, `lock()` while that is under way and `unlock(error)` when the
 * server has refused what was sent.
 */
export class SentPage {
  /** session: {server, isSaving, ...}; the draft holds the `answer` from when it is confirmed until it is saved. */
  constructor(session, draft) {
    Object.assign(this, { session, draft });
    this.ending = new AbortController();
  }

  /** Resolves with "saved", or "answered before" where the server says so; throws where it knows no such participant. */
  run() {
    return new Promise((resolve, reject) => {
      this.finish = (action) => { this.end(); action(resolve, reject); };
      this.build();
      if (this.draft.data.answer) this.send();
    });
  }

  end() {
    this.session.isSaving = false;
    this.ending.abort();
  }

  /** Keeps the answer, which a reload sends again, and sends it. */
  confirmed(answer) {
    this.draft.data.answer = answer;
    this.draft.save();
    return this.send();
  }

  /** Sends the answer until the server has it; the same answer sent twice counts once. */
  async send() {
    this.session.isSaving = true;
    this.lock();
    try {
      await this.post(this.draft.data.answer);
      this.draft.forget();
      this.finish((resolve) => resolve("saved"));
    } catch (error) {
      this.refused(error);
    }
  }

  refused(error) {
    if (!(error instanceof Refused) || GONE.includes(error.status)) {
      this.finish((_, reject) => reject(error));
    } else if (error.status === CONFLICT) {
      this.draft.forget();
      this.finish((resolve) => resolve("answered before"));
    } else {
      this.session.isSaving = false;
      this.draft.clearAnswer();
      this.unlock(error);
    }
  }
}
