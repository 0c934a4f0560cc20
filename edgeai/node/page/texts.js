// The language of the page, and how numbers and times are written in it.

import en from "./texts-en.js";
import ko from "./texts-ko.js";

const LANGUAGES = { en, ko };
const KEPT = "edgeai-language";

let language = chosen();

function chosen() {
  const kept = localStorage.getItem(KEPT);
  if (kept in LANGUAGES) return kept;
  const wanted = navigator.languages ?? [navigator.language];
  return wanted.map((one) => one.slice(0, 2)).find((one) => one in LANGUAGES) ?? "en";
}

export const currentLanguage = () => language;
export const otherLanguage = () => (language === "ko" ? "en" : "ko");

export function setLanguage(value) {
  language = value;
  localStorage.setItem(KEPT, value);
}

/** Return a text with its `{names}` filled in. `key.one` is used where `n` is 1. */
export function t(key, values = {}) {
  const texts = LANGUAGES[language].texts;
  const found = (values.n === 1 && texts[`${key}.one`]) || texts[key] || en.texts[key] || key;
  return found.replace(/\{(\w+)\}/g, (_, name) => {
    const value = values[name];
    return typeof value === "number" ? number(value) : (value ?? "");
  });
}

/** Whether there is a text in this language. */
export const has = (key) => key in LANGUAGES[language].texts;

/** Return a name of a signal, output or fault as words; known ones in the reader's language. */
export function word(name) {
  return LANGUAGES[language].names[name] ?? name.replaceAll("_", " ");
}

/** Return the sentence of a model package in the reader's language, if it is a known one. */
export const sentence = (text) => LANGUAGES[language].sentences[text] ?? text;

/** Return why something was refused, in the reader's language; `text` is the node's. */
export const reasonText = (code, text) =>
  LANGUAGES[language].reasons[code] ?? text ?? code.replaceAll("_", " ");

/** Return names as a list, `a, b and c`. */
export function list(names) {
  return new Intl.ListFormat(language, { type: "conjunction" }).format(names);
}

/** Return a number with at most four significant digits, or as many as are asked for. */
export function number(value, significant = 4) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const digits = Math.abs(value) >= 1000 ? { maximumFractionDigits: 0 }
    : { maximumSignificantDigits: significant };
  return new Intl.NumberFormat(language, digits).format(value).replace("-", "\u2212");
}

/** Return a value with its unit; `1` is the unit of a ratio and is not shown. */
export function quantity(value, unit, significant = 4) {
  const shown = Array.isArray(value) ? value.map((one) => number(one)).join(" – ")
    : number(value, significant);
  return unit && unit !== "1" ? `${shown} ${unitText(unit)}` : shown;
}

/** Return a unit as people write it. */
export const unitText = (unit) =>
  unit === "1" ? "" : unit.replace("degC", "°C").replace("m2", "m²").replace("s2", "s²")
    .replace("*", "·");

/** Return a duration in its largest unit, such as `3 min`. */
export function duration(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 90) return t("seconds", { n: s });
  if (s < 90 * 60) return t("minutes", { n: Math.round(s / 60) });
  if (s < 36 * 3600) return t("hours", { n: Math.round(s / 3600) });
  return t("days", { n: Math.round(s / 86400) });
}

/** Return a time of day; with the date if it is not today. */
export function clock(seconds, withSeconds = true) {
  const time = new Date(seconds * 1000);
  const options = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  if (withSeconds) options.second = "2-digit";
  if (time.toDateString() !== new Date().toDateString())
    Object.assign(options, { month: "short", day: "numeric" });
  return new Intl.DateTimeFormat(language, options).format(time);
}
