/** What is heard stands in the address after #, so that a view can be sent to somebody else. */

const numbers = (text) => text.split(",").map(Number);

function earsFrom(text) {
  const parts = text.split(";").map(numbers);
  if (parts.length !== 3 || parts.some((part) => part.length !== parts[0].length || !part.every(Number.isFinite))) {
    return null;
  }
  const [frequencies_hz, right, left] = parts;
  return { left: { frequencies_hz, levels_db_hl: left }, right: { frequencies_hz, levels_db_hl: right } };
}

function earsText({ left, right }) {
  if (String(left.frequencies_hz) !== String(right.frequencies_hz)) return null;
  return [right.frequencies_hz, right.levels_db_hl, left.levels_db_hl].join(";");
}

export function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  const number = (name) => (given.has(name) && Number.isFinite(Number(given.get(name))) ? Number(given.get(name)) : null);
  return {
    song: given.get("song"),
    listener: given.get("listener"),
    ears: given.has("audiogram") ? earsFrom(given.get("audiogram")) : null,
    version: given.get("version"),
    start_s: number("from"),
    duration_s: number("length"),
    simulator: given.get("through"),
  };
}

/** An audiogram of one's own goes along as numbers: another server, or this one later, does not know its name. */
export function writeAddress({ song, listener, version, start_s, duration_s, simulator }) {
  const ears = listener.id.startsWith("custom-") ? earsText(listener) : null;
  const given = { song, listener: listener.id, version, from: start_s, length: duration_s, through: simulator };
  const written = new URLSearchParams();
  for (const [name, value] of Object.entries(given)) if (value !== null && value !== "") written.set(name, value);
  if (ears) written.set("audiogram", ears);
  history.replaceState(null, "", `#${written}`);
}
