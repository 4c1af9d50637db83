// Talks to the server about one participant. What the server holds is the truth; a request that finds no server is
// made again until it gets an answer, and the page is told meanwhile.

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 8000;
const TIMEOUT_MS = 15000;
const PASSING = new Set([408, 425, 429, 500, 502, 503, 504]);

/** An answer of the server that asking again will not change. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The server answered that it cannot at present. */
export class Troubled extends Error {}

/** One exchange of JSON; throws Refused for a definite no and another error when no answer came. */
async function exchange(path, { method = "GET", body } = {}) {
  const options = { method, cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) };
  if (body !== undefined) {
    options.headers = { "Content-Type": "application/json" };
    options.body = JSON.stringify(body);
  }
  const response = await fetch(path, options);
  const answer = await response.json().catch(() => null);
  if (response.ok && answer !== null) return answer;
  const line = answer?.error ?? `the server answered ${response.status}`;
  if (response.ok || PASSING.has(response.status)) throw new Troubled(line);
  throw new Refused(response.status, line);
}

export class Server {
  /** onaway(attempt, error) is told of every failed attempt, onback() when the server answers again. */
  constructor(token, { onaway, onback }) {
    this.base = `/api/t/${encodeURIComponent(token)}`;
    this.onaway = onaway;
    this.onback = onback;
    this.wake = () => {};
    window.addEventListener("online", () => this.tryNow());
  }

  state() { return this.patiently(() => exchange(this.base)); }

  /** The page at hand with its sounds as `load(trial)` gives them. The sounds may have gone meanwhile: then the server
   * is asked again for both. */
  trial(load) {
    return this.patiently(async () => {
      const trial = await exchange(`${this.base}/trial`);
      return { trial, sounds: await load(trial) };
    });
  }

  begin() { return this.post("begin"); }

  setLevel(volume) { return this.post("level", { volume }); }

  goOn() { return this.post("continue"); }

  confirm(trial, answer) { return this.post(`trials/${trial}`, answer); }

  answerQuestions(answers) { return this.post("questions", { answers }); }

  post(what, body = {}) {
    return this.patiently(() => exchange(`${this.base}/${what}`, { method: "POST", body }));
  }

  /** Does `action` until it succeeds or is refused; the waits double up to a limit. */
  async patiently(action) {
    for (let attempt = 1; ; attempt += 1) {
      try {
        const result = await action();
        if (attempt > 1) this.onback();
        return result;
      } catch (error) {
        if (error instanceof Refused) {
          if (attempt > 1) this.onback();
          throw error;
        }
        this.onaway(attempt, error);
        await this.pause(Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** (attempt - 1)));
      }
    }
  }

  pause(milliseconds) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.wake = () => { clearTimeout(timer); resolve(); };
    });
  }

  /** Ends the present wait. */
  tryNow() { this.wake(); }
}
