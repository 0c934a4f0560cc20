// Bright, dark, or as the device says.

import { t } from "./texts.js";

const THEMES = ["auto", "light", "dark"];
const KEPT = "edgeai-theme";
let theme = THEMES.includes(localStorage.getItem(KEPT)) ? localStorage.getItem(KEPT) : "auto";
const listeners = new Set();

function apply() {
  document.documentElement.dataset.theme = theme;
  for (const listener of listeners) listener();
}

export const themeText = () => t(`theme.${theme}`);

export function switchTheme() {
  theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  localStorage.setItem(KEPT, theme);
  apply();
}

/** Call a function whenever the colours change; return a function that ends this. */
export function onTheme(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Return the value of a colour of page.css. */
export const colour = (name) =>
  getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", apply);
apply();
