// Sorting of tables and saving them as CSV. The page can be read without it.
"use strict";

const textOrder = new Intl.Collator("en", { numeric: true });

/** The value of a cell to sort by: a number where it carries one, otherwise its text; null where there is nothing. */
function sortValue(cell) {
  if (!("v" in cell.dataset)) return cell.textContent;
  const first = cell.dataset.v.split(" ")[0];
  return first === "" || first === "-" ? null : Number(first);
}

/** Compare two values; what is not there comes last, whichever way the table is sorted. */
function compare(a, b, sign) {
  if (a === null || b === null) return (a === null) - (b === null);
  return sign * (typeof a === "number" && typeof b === "number" ? a - b : textOrder.compare(a, b));
}

function sortBy(heading) {
  const table = heading.closest("table");
  const body = table.tBodies[0];
  const sign = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  const place = heading.cellIndex;
  const rows = [...body.rows].map((row) => [sortValue(row.cells[place]), row]);
  rows.sort((a, b) => compare(a[0], b[0], sign));
  body.append(...rows.map((entry) => entry[1]));
  for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
}

/** One field of a CSV file (RFC 4180). */
function field(text) {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** The fields of a cell: three for an interval, otherwise one. */
function fields(cell, isInterval) {
  if (!("v" in cell.dataset)) return [cell.textContent, ...(isInterval ? ["", ""] : [])];
  const parts = cell.dataset.v.split(" ").map((part) => (part === "-" ? "" : part));
  while (isInterval && parts.length < 3) parts.push("");
  return parts;
}

function csvOf(table) {
  const headings = [...table.tHead.rows[0].cells];
  const intervals = headings.map((heading) => "interval" in heading.dataset);
  const titles = headings.flatMap((heading, place) => {
    const title = heading.dataset.csv;
    return intervals[place] ? [title, `${title} (low)`, `${title} (high)`] : [title];
  });
  const rows = [...table.tBodies[0].rows].map((row) =>
    [...row.cells].flatMap((cell, place) => fields(cell, intervals[place])),
  );
  return [titles, ...rows].map((row) => row.map(field).join(",") + "\r\n").join("");
}

/** All values, unpacked from the page's compact form: a line for each song, listener, ear, stem and metric. */
function csvOfValues(packed) {
  const lines = ["system,song,listener,ear,stem,metric,value\r\n"];
  for (const [system, song, listener, metric, ...values] of packed.rows) {
    values.forEach((value, place) => {
      const [ear, stem] = packed.channels[place];
      const names = [packed.systems[system], packed.songs[song], packed.listeners[listener], ear, stem];
      lines.push([...names.map(field), packed.metrics[metric], value ?? ""].join(",") + "\r\n");
    });
  }
  return lines.join("");
}

/** Unpack data of the page: JSON, compressed, in base64. */
async function unpacked(element) {
  const bytes = Uint8Array.from(atob(element.textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
}

function save(text, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(["\ufeff", text], { type: "text/csv;charset=utf-8" }));
  link.download = `${name}.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

for (const heading of document.querySelectorAll("thead th")) {
  heading.querySelector("button.sort").addEventListener("click", () => sortBy(heading));
}
for (const button of document.querySelectorAll("button.save")) {
  button.addEventListener("click", () => {
    if (button.dataset.values) {
      unpacked(document.getElementById(button.dataset.values)).then((packed) => save(csvOfValues(packed), "values"));
    } else {
      const table = document.getElementById(button.dataset.table);
      save(csvOf(table), table.dataset.name);
    }
  });
}
// Paper cannot be unfolded: what is folded is printed open, and folded again.
const folded = new Set();
addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("details:not([open])")) folded.add(part);
  for (const part of folded) part.open = true;
});
addEventListener("afterprint", () => {
  for (const part of folded) part.open = false;
  folded.clear();
});
document.documentElement.classList.add("scripted");
