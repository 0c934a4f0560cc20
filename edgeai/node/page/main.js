// Start of the page: asks for the state twice a second and draws the overview or one machine.

import { fetchState } from "./api.js";
import { announceChanges } from "./announce.js";
import { drawBanners } from "./banners.js";
import { setText } from "./dom.js";
import { countsOf, machinesOf, STATES } from "./machines.js";
import { Overview } from "./overview.js";
import { MachineView } from "./detail.js";
import { Rates } from "./rates.js";
import { switchTheme, themeText } from "./theme.js";
import { currentLanguage, otherLanguage, setLanguage, t } from "./texts.js";

const POLL_MS = 500;
const HIDDEN_POLL_MS = 5000; // while nobody sees the page
const LOST_SECONDS = 3;

const $ = (id) => document.getElementById(id);
const rates = new Rates();
let view = null;
let last = null; // { state, machines, counts, at }
let failure = null; // { since, denied }

/** Return the machine that the address names; null for none, and where it cannot be read. */
function wantedMachine() {
  const found = location.hash.match(/^#\/machine\/(.+)$/);
  try {
    return found ? decodeURIComponent(found[1]) : null;
  } catch {
    return null;
  }
}

function route() {
  const wanted = wantedMachine();
  const opened = view !== null;
  const before = view?.name;
  if (view && view.name === wanted) return;
  view?.close();
  view = wanted === null ? new Overview($("main")) : new MachineView($("main"), wanted);
  view.name = wanted;
  draw();
  if (opened) view.focus(before);
  if (wanted !== null) scrollTo(0, 0);
}

function drawFrame() {
  document.documentElement.lang = currentLanguage();
  setText($("skip"), t("skip"));
  const language = $("language");
  setText(language, t("language"));
  language.lang = otherLanguage();
  language.setAttribute("aria-label", `${t("language")}: ${t("language.label")}`);
  setText($("theme"), themeText());
  $("theme").setAttribute("aria-label", t("theme.label", { theme: themeText() }));
}

/** Return seconds since 1970 by the node's clock, so that a wrong clock here changes nothing. */
const now = () => last.state.now + (performance.now() - last.at) / 1000;

function draw() {
  drawFrame();
  const lostSeconds = failure ? (performance.now() - failure.since) / 1000 : 0;
  const isLost = failure !== null && (lostSeconds > LOST_SECONDS || !last || failure.denied);
  document.body.classList.toggle("lost", isLost);
  drawBanners($("banners"), last?.state, { isLost, lostSeconds, denied: failure?.denied });
  setText($("live"), last && !isLost ? t("live") : "");
  if (!last) {
    document.title = "edgeai";
    view?.drawEmpty?.(isLost ? "" : t("loading"));
    return;
  }
  const { state, machines } = last;
  const worst = STATES.find((one) => last.counts.counts[one] > 0);
  const summary = isLost ? t("summary.old") : worst
    ? t(`summary.${worst}`, { n: last.counts.counts[worst] }) : t("summary.none");
  const title = t("title", { node: state.node, summary });
  if (document.title !== title) document.title = title;
  setText($("node"), state.node);
  document.body.toggleAttribute("data-simulated", state.commands.includes("inject"));
  view.draw({
    state, machines, summary, worst, isLost, counts: last.counts, now: now(), rates,
  });
}

async function poll() {
  try {
    const state = await fetchState();
    const machines = machinesOf(state);
    const counts = countsOf(state, machines);
    rates.add(state);
    announceChanges($("spoken"), machines);
    last = { state, machines, counts, at: performance.now() };
    failure = null;
  } catch (error) {
    failure ??= { since: performance.now() };
    failure.denied = error.status === 401;
  }
  try {
    draw();
  } finally {
    setTimeout(poll, document.hidden ? HIDDEN_POLL_MS : POLL_MS);
  }
}

$("language").addEventListener("click", () => {
  setLanguage(otherLanguage());
  const name = view.name;
  view.close();
  view = null;
  $("main").replaceChildren();
  view = name === null ? new Overview($("main")) : new MachineView($("main"), name);
  view.name = name;
  draw();
});
$("theme").addEventListener("click", () => {
  switchTheme();
  draw();
});
$("skip").addEventListener("click", (event) => {
  event.preventDefault();
  view.focus(null);
});
addEventListener("hashchange", route);
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && view?.name && !document.querySelector("dialog[open]"))
    location.hash = "#/";
});
document.addEventListener("visibilitychange", () => document.hidden || draw());
route();
poll();
