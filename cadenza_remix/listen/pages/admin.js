// The administration of a listening test: who takes part, how far they are, their links and their data.

const byId = (id) => document.getElementById(id);

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** The server wants a login. */
class LoginNeeded extends Error {}

async function ask(path, { method = "GET", body } = {}) {
  const options = { method, cache: "no-store" };
  if (body !== undefined) {
    options.headers = { "Content-Type": "application/json" };
    options.body = JSON.stringify(body);
  }
  const response = await fetch(`/api/admin/${path}`, options).catch(() => {
    throw new Error("The server does not answer.");
  });
  const answer = await response.json().catch(() => null);
  if (response.ok) return answer;
  const line = answer?.error ?? `The server answered ${response.status}.`;
  throw response.status === 401 ? new LoginNeeded(line) : new Error(line);
}

function say(text) { byId("said").textContent = text; }

function complain(text) {
  byId("problem").hidden = !text;
  byId("problem").textContent = text;
}

/** Runs an action; what it did or what went wrong is told at the top of the page, and nothing of the action before. */
async function attempt(action) {
  say("");
  complain("");
  try {
    await action();
  } catch (error) {
    if (error instanceof LoginNeeded) showLogin();
    else complain(error.message);
  }
}

function showLogin() {
  byId("content").hidden = true;
  byId("logout").hidden = true;
  byId("login").hidden = false;
  byId("token").value = "";
  byId("token").focus();
}

// The page

const KINDS = { mushra: "MUSHRA (ITU-R BS.1534)", scales: "Cadenza's panel scales", ab: "A/B preference" };

function showTest(test) {
  document.title = `${test.title}: administration`;
  byId("title").textContent = `${test.title}: administration`;
  const loudness = test.loudness_lufs === null ? "as it is" : `${test.loudness_lufs} LUFS`;
  const facts = [
    ["Type", KINDS[test.type]],
    ["Systems", test.systems.join(", ")],
    ["Songs", test.songs.map((song) => `${song.name} (${passage(song.start_s, song.duration_s)})`).join(", ")],
    ["Pages each", test.n_trials],
    ["Loudness", `${loudness}, never above ${test.max_peak_dbfs} dBFS`],
    ["Seed", test.seed],
    ["Results", test.results],
    ["Begun", `${test.created.slice(0, 16).replace("T", ", ")} UTC`],
    ["Finished", `${test.n_finished} of ${test.n_participants} participants`],
  ];
  const entries = facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, String(value))]);
  byId("test").replaceChildren(...entries);
  byId("questions").hidden = !test.questions;
  const options = test.listeners.map(({ id, severity }) => make("option", { value: id }, severity));
  byId("listeners").replaceChildren(...options);
}

const passage = (start, length) => `${start.toFixed(1)} to ${(start + length).toFixed(1)} s`;

function showPeople(people) {
  byId("people").replaceChildren(...people.map(row));
  byId("nobody").hidden = people.length > 0;
  for (const id of ["table", "copy-all", "links"]) byId(id).hidden = people.length === 0;
  byId("all-links").hidden = true;
  byId("all-links").value = people.map((one) => `${one.label ?? one.number}\t${urlOf(one)}`).join("\n");
}

const urlOf = (person) => new URL(person.link, location.origin).href;

function row(person) {
  const { number, label, listener, severity, state, n_done: nDone, n_trials: nTrials } = person;
  // Roles, as the cards of a phone are no table to a browser otherwise.
  const cell = (name, content) => make("td", { role: "cell", "data-name": name }, content);
  return make("tr", { role: "row" },
    make("th", { scope: "row", role: "rowheader", "data-name": "No." }, String(number)),
    cell("Label", label ?? ""),
    cell("Listener", `${listener} (${severity})`),
    cell("State", state),
    cell("Answered", `${nDone} of ${nTrials}`),
    cell("Link", linkCell(person)),
    cell("Data", actions(person)));
}

/** A participant in words, the organiser's label among them. */
const called = ({ number, label }) => `participant ${number}${label ? ` (${label})` : ""}`;

function linkCell(person) {
  const url = urlOf(person);
  const name = `Link of ${called(person)}`;
  const field = make("input", { type: "text", readonly: "", value: url, "aria-label": name });
  field.addEventListener("focus", () => field.select());
  const copy = make("button", { type: "button", "aria-label": `Copy the link of ${called(person)}` }, "Copy");
  copy.addEventListener("click", () => attempt(() => copyText(field, `${name} copied.`)));
  return make("div", { class: "admin-link" }, field, copy);
}

/** Browsers give the clipboard to secure pages only; elsewhere the text is shown and marked, ready to be copied. */
async function copyText(field, done) {
  try {
    await navigator.clipboard.writeText(field.value);
    say(done);
  } catch {
    field.hidden = false;
    field.focus();
    field.select();
    say("This browser does not let the page copy. What you want is marked: press Ctrl+C.");
  }
}

function copyAll() {
  const n = byId("people").rows.length;
  return copyText(byId("all-links"), n === 1 ? "One link copied." : `${n} links copied.`);
}

function actions(person) {
  const { number } = person;
  const url = `/api/admin/participants/${number}/export`;
  const save = make("a", {
    class: "button", href: url, download: `participant-${number}.json`,
    "aria-label": `Export the data of ${called(person)}`,
  }, "Export");
  const remove = make("button", {
    type: "button", class: "admin-delete", "aria-label": `Delete ${called(person)}`,
  }, "Delete");
  remove.addEventListener("click", () => attempt(() => deletePerson(person)));
  return make("div", { class: "admin-actions" }, save, remove);
}

async function deletePerson(person) {
  byId("delete-text").textContent = `All answers, the audiogram and the link of ${called(person)} are removed `
    + "for good. Export them first if they were asked for.";
  if (await choice(byId("delete-dialog")) !== "delete") return;
  await ask(`participants/${person.number}`, { method: "DELETE" });
  say(`Participant ${person.number} is deleted.`);
  await refresh();
  byId("refresh").focus();
}

/** The value of the button that closed a dialog; empty for Escape. */
function choice(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true });
  });
}

async function refresh() {
  const [test, people] = await Promise.all([ask("test"), ask("participants")]);
  showTest(test);
  showPeople(people);
  byId("login").hidden = true;
  byId("content").hidden = false;
  byId("logout").hidden = false;
}

// Adding

function numbers(id) {
  const words = byId(id).value.split(/[\s,;]+/).filter(Boolean);
  const values = words.map(Number);
  const name = document.querySelector(`label[for=${id}]`).textContent;
  const wrong = words.find((_, i) => !Number.isFinite(values[i]));
  if (wrong !== undefined) throw new Error(`${name}: expected numbers, found ${wrong}.`);
  if (values.length === 0) throw new Error(`${name}: expected numbers, found nothing.`);
  return values;
}

function hearing() {
  const isByName = document.querySelector("[name=hearing]:checked").value === "listener";
  if (isByName) return { listener: byId("listener").value.trim() };
  const ear = (id) => ({ frequencies_hz: numbers("frequencies"), levels_db_hl: numbers(id) });
  return { audiogram: { left: ear("left"), right: ear("right") } };
}

async function add() {
  const [count, label] = [byId("count").valueAsNumber, byId("label").value.trim()];
  const body = { ...hearing(), count, ...(label && { label }) };
  const { participants: people } = await ask("participants", { method: "POST", body });
  for (const id of ["listener", "label"]) byId(id).value = "";
  byId("count").value = "1";
  await refresh();
  const [first, last] = [people[0].number, people.at(-1).number];
  if (people.length === 1) say(`Participant ${first} is added. The link is in the table.`);
  else say(`Participants ${first} to ${last} are added. Their links are in the table.`);
}

function listen() {
  byId("login").addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(async () => {
      // A wrong token is told as an error, and stays in its field to be corrected.
      await ask("login", { method: "POST", body: { token: byId("token").value.trim() } }).catch((error) => {
        throw new Error(error.message);
      });
      await refresh();
      byId("people-heading").scrollIntoView({ block: "nearest" });
      say("Logged in.");
    });
  });
  byId("logout").addEventListener("click", () => attempt(async () => {
    await ask("logout", { method: "POST" });
    showPeople([]);
    showLogin();
    say("Logged out.");
  }));
  byId("copy-all").addEventListener("click", () => attempt(copyAll));
  byId("links").search = `?scheme=${location.protocol.replace(":", "")}`;
  byId("refresh").addEventListener("click", () => attempt(async () => { await refresh(); say("Refreshed."); }));
  byId("add").addEventListener("submit", (event) => { event.preventDefault(); attempt(add); });
  for (const radio of document.querySelectorAll("[name=hearing]")) {
    radio.addEventListener("change", () => {
      byId("by-listener").hidden = radio.value !== "listener";
      byId("by-audiogram").hidden = radio.value !== "audiogram";
    });
  }
}

listen();
attempt(refresh);
