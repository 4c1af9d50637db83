/** Making and finding elements. Text only ever becomes text: nothing here parses markup. */

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

export function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function drawn(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

export function option(value, text) {
  return element("option", { value }, text);
}

/** Show a line in its place, or nothing. */
export function tell(place, line) {
  place.hidden = !line;
  place.textContent = line ?? "";
}

/** Call only when nothing has come for a while; `cancel` drops what waits. */
export function debounced(delay_ms, call) {
  let timer = 0;
  const cancel = () => clearTimeout(timer);
  const later = () => {
    cancel();
    timer = setTimeout(call, delay_ms);
  };
  return Object.assign(later, { cancel });
}
