// Start of the page: asks for the state twice a second and draws the overview or one machine.

import { fetchState } from "./api.js";
import { announceChanges } from "./announce.js";
import { drawBanners } from "./banners.js";
import { setText } from "./dom.js";
import { asOld, countsOf, machinesOf, STATES } from "./machines.js";
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
let last = null; // { state, machines, at }
let asked = null; // when the request was made that has no answer yet
let hasFailed = false; // whether the last request has
let denied = false; // whether the page needs a token
let timer = null; // of the next request; null while one is on its way

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

const secondsSince = (time) => (performance.now() - time) / 1000;

/** Whether the node does not answer: a request has failed, or hangs. */
const isLost = () => denied || (hasFailed && !last) ||
  (asked !== null && secondsSince(asked) > LOST_SECONDS);

function draw() {
  drawFrame();
  const lost = isLost();
  // Without a broker nothing new comes: what is shown is as old as if the node did not answer.
  const isOld = lost || (last !== null && !last.state.broker.connected);
  document.body.classList.toggle("old", isOld);
  drawBanners($("banners"), last?.state,
    { isLost: lost, lostSeconds: secondsSince(last?.at ?? 0), denied });
  setText($("live"), last && !isOld ? t("live") : "");
  if (!last) {
    document.title = "edgeai";
    view?.drawEmpty?.(lost ? "" : t("loading"));
    return;
  }
  const { state } = last;
  const machines = isOld ? asOld(last.machines) : last.machines;
  const { counts, hidden } = countsOf(state, machines);
  const worst = STATES.find((one) => counts[one] > 0);
  const summary = isOld ? t("summary.old") : worst
    ? t(`summary.${worst}`, { n: counts[worst] }) : t("summary.none");
  const title = t("title", { node: state.node, summary });
  if (document.title !== title) document.title = title;
  setText($("node"), state.node);
  document.body.toggleAttribute("data-simulated", state.commands.includes("inject"));
  view.draw({ state, machines, summary, worst, isOld, counts, hidden, now: now(), rates });
}

async function poll() {
  timer = null;
  asked ??= performance.now();
  try {
    const state = await fetchState();
    const machines = machinesOf(state);
    rates.add(state);
    announceChanges($("spoken"), machines);
    last = { state, machines, at: performance.now() };
    asked = null;
    hasFailed = denied = false;
  } catch (error) {
    hasFailed = true;
    denied = error.status === 401;
  }
  try {
    draw();
  } finally {
    timer = setTimeout(poll, document.hidden ? HIDDEN_POLL_MS : POLL_MS);
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
document.addEventListener("visibilitychange", () => {
  if (document.hidden || timer === null) return;
  clearTimeout(timer);
  poll();
});
setInterval(() => isLost() && draw(), POLL_MS); // also while a request hangs
route();
poll();
