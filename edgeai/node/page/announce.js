// Tells a screen reader which machines have changed their state.

import { t } from "./texts.js";
import { why } from "./machines.js";

const MAX_TOLD = 3; // at once; of more, the number is told
const before = new Map();
let first = true;

/** Say the changes since the last call, politely: the reader finishes its sentence first. */
export function announceChanges(element, machines) {
  const changed = machines.filter((one) => before.get(one.key) !== one.state);
  before.clear();
  for (const one of machines) before.set(one.key, one.state);
  const told = first ? changed.filter((one) => one.state === "active") : changed;
  first = false;
  if (!told.length) return;
  const texts = told.slice(0, MAX_TOLD).map((one) => {
    const reason = why(one.worst);
    return `${one.name}: ${t(one.state)}${reason ? `, ${reason}` : ""}.`;
  });
  if (told.length > MAX_TOLD) texts.push(t("and.more", { n: told.length - MAX_TOLD }));
  element.textContent = texts.join(" ");
}
