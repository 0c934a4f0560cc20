// Small helpers for elements. Text is always set as text, never as markup: names come from the
// network.

const SVG = "http://www.w3.org/2000/svg";

/** Return a new element with properties and children; a null child is left out. */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && !name.startsWith("aria")) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

/** Return the size of 1rem in pixels: it grows on a very wide screen. */
export const remPixels = () => parseFloat(getComputedStyle(document.documentElement).fontSize);

/** Return the shape of a state, drawn in index.html; screen readers skip it. */
export function shape(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "shape");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#shape-${name}`);
  svg.append(use);
  return svg;
}

/** Set the shape of an element made by `shape`. */
export function setShape(svg, name) {
  const href = `#shape-${name}`;
  const use = svg.firstChild;
  if (use.getAttribute("href") !== href) use.setAttribute("href", href);
}

/** Set a text, and hide the element while there is none. */
export function setText(element, text) {
  const shown = text ?? "";
  if (element.textContent !== shown) element.textContent = shown;
  element.hidden = shown === "";
}

/** Set an attribute if it is another one now. */
export function setAttribute(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/** Replace the children of an element, unless they are made of the same record as before. */
export function redraw(element, record, make) {
  const key = JSON.stringify(record);
  if (element.drawnFrom === key) return;
  element.drawnFrom = key;
  element.replaceChildren(...[make(record)].flat().filter(Boolean));
}

/**
 * Keep one child of a list for each record, in their order.
 *
 * Each record has a `key`. An element that has the focus keeps it when it moves.
 */
export function keyed(list, records, make) {
  const known = (list.keyed ??= new Map());
  const focused = document.activeElement;
  const wanted = new Set();
  let place = list.firstElementChild;
  for (const record of records) {
    wanted.add(record.key);
    let item = known.get(record.key);
    if (!item) known.set(record.key, (item = make(record)));
    item.update(record);
    if (item.element === place) place = place.nextElementSibling;
    else list.insertBefore(item.element, place);
  }
  for (const [key, item] of known) {
    if (wanted.has(key)) continue;
    item.close?.();
    item.element.remove();
    known.delete(key);
  }
  if (focused !== document.activeElement && list.contains(focused)) focused.focus();
}
