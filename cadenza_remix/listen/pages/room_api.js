/** The server's answers, and its one line where it refuses. */

/** How often a busy server is asked, and how long is waited for it at most in between. */
const TRIES = 4;
const LONGEST_WAIT_S = 5;

/** So many versions does the server take in one request, and so many where the simulator is a slow one. */
const MOST_VERSIONS = 48;
const MOST_SIMULATED = 4;

/** Statuses of what is there and cannot be made: a file is damaged, a disk is full. To ask again at once is of no use. */
const CANNOT = [422, 500];

export class ServerError extends Error {
  constructor(line, status) {
    super(line);
    this.status = status;
  }
}

async function lineOf(response) {
  try {
    const { error } = await response.json();
    if (typeof error === "string") return error;
  } catch {
    // Not from our server: a proxy, or it is going down. The status has to do.
  }
  return `the server answered ${response.status} ${response.statusText}`.trim();
}

async function ask(path, { method = "GET", body = undefined, signal = undefined, tries = TRIES } = {}) {
  const headers = body === undefined ? {} : { "Content-Type": "application/json" };
  let response;
  try {
    response = await fetch(path, { method, headers, signal, body: body && JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError("the server does not answer: is it still running?", 0);
  }
  if (response.status === 503 && tries > 1) {
    const wait_s = Math.min(LONGEST_WAIT_S, Number(response.headers.get("Retry-After")) || 1);
    await new Promise((resolve) => setTimeout(resolve, 1000 * wait_s));
    signal?.throwIfAborted();
    return ask(path, { method, body, signal, tries: tries - 1 });
  }
  if (!response.ok) throw new ServerError(await lineOf(response), response.status);
  return response.status === 204 ? null : response.json();
}

const part = encodeURIComponent;

export const room = (signal) => ask("/api/room", { signal });

/** Whether the server answers at all, whatever it says. */
export const isThere = (signal) => ask("/api/room", { signal, tries: 1 }).then(() => true, ({ status }) => status > 0);

export const versions = (song, listener, signal) =>
  ask(`/api/songs/${part(song)}/versions?listener=${part(listener)}`, { signal });

/** `clips`, and `failed`: versions that cannot be made, each with an `error`. No answer at all is an error as elsewhere. */
export async function clips(request, signal) {
  const most = request.simulator ? MOST_SIMULATED : MOST_VERSIONS;
  const all = { clips: [], failed: [] };
  for (let first = 0; first < request.versions.length; first += most) {
    const some = await someClips({ ...request, versions: request.versions.slice(first, first + most) }, signal);
    all.clips.push(...some.clips);
    all.failed.push(...some.failed);
  }
  return all;
}

async function someClips(request, signal) {
  try {
    return await ask("/api/clips", { method: "POST", body: request, signal });
  } catch (error) {
    if (!CANNOT.includes(error.status)) throw error;
    // Of all of them nothing could be made: the answer is the error of the first.
    return { clips: [], failed: request.versions.map((version) => ({ version, error: error.message })) };
  }
}

export const addListener = (ears, signal) => ask("/api/listeners", { method: "POST", body: ears, signal });
export const uploadState = (token) => ask(`/api/uploads/${part(token)}`);
export const removeUpload = (token) => ask(`/api/uploads/${part(token)}`, { method: "DELETE" });

/** Send a file. Only this old interface tells how much has gone. */
export function upload(file, onshare, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.onabort = () => reject(signal.reason);
    request.open("POST", `/api/uploads?name=${part(file.name)}`);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.responseType = "json";
    request.upload.onprogress = (event) => event.lengthComputable && onshare(event.loaded / event.total);
    request.onerror = () => reject(new ServerError("the server ended the connection before the file was there", 0));
    request.onload = () => {
      if (request.status === 202) resolve(request.response.token);
      else reject(new ServerError(request.response?.error ?? `the server answered ${request.status}`, request.status));
    };
    request.send(file);
  });
}
