// The last hour of one machine in one pipeline: the score, and the signal that is chosen.

import { fetchHistory } from "./api.js";
import { loadPlot, makeChart } from "./charts.js";
import { h, setAttribute, setText } from "./dom.js";
import { clock, number, quantity, t, word } from "./texts.js";
import { onTheme } from "./theme.js";

const STEPS = 720;
const POLL_MS = 5000;
const FIRST_POLLS_MS = 1000; // while there is little to see
const ABNORMAL = new Set([2, 3, 4]);
const CLIP = 5; // times the threshold; a larger peak is cut off, or it would flatten all else

export class HourView {
  constructor(part) {
    this.pipeline = part.pipeline.name;
    this.asset = part.asset.asset;
    this.unit = new Map();
    this.chosen = null;
    this.history = null;
    this.heading = h("h3");
    this.chart = h("div", { class: "chart", role: "img" });
    this.note = h("p", { class: "quiet note" });
    this.legend = h("ul", { class: "legend", "aria-hidden": "true" });
    this.signalHeading = h("h3", { class: "signal-heading" });
    this.signalChart = h("div", { class: "chart small", role: "img" });
    this.element = h("div", { class: "hour" }, this.heading, this.chart, this.legend, this.note,
      this.signalHeading, this.signalChart);
    this.endTheme = onTheme(() => this.#remake());
    this.#poll();
  }

  close() {
    this.closed = true;
    this.endTheme();
    this.score?.destroy();
    this.signal?.destroy();
  }

  /** Show the last hour of a signal from now on. */
  choose(name) {
    this.isChosenByUser = true;
    this.#show(name);
  }

  /**
   * Take the newest values, and choose a signal unless the user has.
   *
   * `marked` are the signals that contribute to an alarm, the largest first. Who contributes most to
   * a healthy score changes with every window: then the signal that is shown stays.
   */
  suggest(marked, signals) {
    for (const one of signals) this.unit.set(one.name, one.unit);
    this.values = new Map(signals.map((one) => [one.name, one.value]));
    // At first: one that is no number of a phase and no running time.
    const first = signals.find((one) => !["1", "s"].includes(one.unit)) ?? signals[0];
    const stays = this.chosen !== null && (!marked.length || marked.includes(this.chosen));
    if (!this.isChosenByUser && !stays) this.#show(marked[0] ?? first?.name ?? null);
    this.#drawSignalHeading();
  }

  #show(name) {
    if (name === this.chosen) return;
    this.chosen = name;
    this.#drawSignal();
  }

  async #poll() {
    if (this.closed) return;
    try {
      this.#add(await fetchHistory(this.pipeline, this.asset, this.history?.newest ?? null));
      await loadPlot();
      this.canDraw = true;
    } catch {
      // the state says what is the matter
    }
    if (this.closed) return;
    this.#drawAll();
    const few = (this.history?.code.length ?? 0) < 24;
    setTimeout(() => this.#poll(), few ? FIRST_POLLS_MS : POLL_MS);
  }

  #add(found) {
    const known = this.history;
    const follows = known && found.first === known.newest + 1 && found.code.length;
    if (known && found.newest === known.newest) return;
    if (!follows) {
      // The first answer, or the node was started again: take all of it.
      this.history = known ? null : found;
      return;
    }
    const join = (old, more) => [...old, ...more].slice(-STEPS);
    this.history = {
      ...found,
      code: join(known.code, found.code),
      lowest: join(known.lowest, found.lowest),
      highest: join(known.highest, found.highest),
      values: found.values.map((column, index) => join(known.values[index] ?? [], column)),
    };
  }

  #times() {
    const { end, step_seconds: step, code } = this.history;
    return code.map((_, index) => end - (code.length - 1 - index) * step);
  }

  draw(part) {
    this.part = part;
    setText(this.heading, t("score.hour"));
  }

  #drawAll() {
    const { history, part } = this;
    if (!part || !history || !this.canDraw) return;
    if (!history.code.length) {
      setText(this.note, t(history.has_room ? "score.empty" : "score.no.room"));
      this.chart.hidden = true;
      return;
    }
    this.chart.hidden = false;
    const times = this.#times();
    const { threshold, pipeline } = { threshold: history.threshold, ...part };
    const isLow = pipeline.abnormal === "low";
    const clip = threshold > 0 && !isLow ? threshold * CLIP : Infinity;
    // A step that was judged and has no finite score was beyond every threshold.
    const beyond = isLow ? -Infinity : clip;
    const cut = (values) => values.map((one, index) =>
      one === null ? (ABNORMAL.has(history.code[index]) && Number.isFinite(beyond) ? beyond : null)
        : Math.min(one, clip));
    const lowest = cut(history.lowest);
    const highest = cut(history.highest);
    if (this.part.asset.state === "current" && this.part.asset.score !== null) {
      // The step that is not complete yet: the last score.
      const score = Math.min(this.part.asset.score, clip);
      times.push(times.at(-1) + history.step_seconds);
      lowest.push(score);
      highest.push(score);
    }
    const data = [times, lowest, highest, times.map(() => threshold)];
    this.score ??= makeChart(this.chart, {
      kind: "score", codes: () => this.history.code, end: () => this.history.end + this.history.step_seconds,
    });
    this.score.set(data, { from: Math.min(0, ...history.lowest.filter((one) => one !== null)),
      least: threshold > 0 ? threshold * 1.5 : threshold });
    this.#describe(times, isLow, clip);
    this.#drawSignal();
  }

  #describe(times, isLow, clip) {
    const { history, part } = this;
    const values = isLow ? history.lowest : history.highest;
    let extreme = null;
    values.forEach((one, index) => {
      if (one !== null && (extreme === null || (isLow ? one < values[extreme] : one > values[extreme])))
        extreme = index;
    });
    const words = { now: number(part.asset.score), threshold: number(history.threshold),
      largest: number(values[extreme]), smallest: number(values[extreme]),
      time: extreme === null ? "–" : clock(times[extreme]) };
    setAttribute(this.chart, "aria-label", t(isLow ? "score.low.label" : "score.label", words));
    setText(this.note, !isLow && values[extreme] > clip
      ? t("score.clipped", { largest: values[extreme] }) : "");
    const kinds = [[2, "alarm"], [3, "latched"], [5, "stale"]].filter(([code]) =>
      history.code.includes(code));
    const shown = kinds.map(([, kind]) => kind).join() + t("legend.alarm");
    if (this.shown === shown) return;
    this.shown = shown;
    this.legend.replaceChildren(
      h("li", { class: "key-threshold" }, t("threshold")),
      ...kinds.map(([, kind]) => h("li", { class: `key-${kind}` }, t(`legend.${kind}`))));
  }

  #drawSignalHeading() {
    const name = this.chosen;
    setText(this.signalHeading, name === null ? ""
      : `${word(name)}: ${quantity(this.values?.get(name) ?? null, this.unit.get(name))}`);
  }

  #drawSignal() {
    if (!this.canDraw) return;
    const index = this.history?.signals.indexOf(this.chosen) ?? -1;
    const column = index < 0 ? [] : (this.history.values[index] ?? []);
    this.signalChart.hidden = !column.length;
    this.#drawSignalHeading();
    if (!column.length) return;
    this.signal ??= makeChart(this.signalChart, {
      kind: "signal", codes: () => this.history.code, end: () => this.history.end + this.history.step_seconds,
    });
    this.signal.set([this.#times(), column], {});
    const finite = column.filter((one) => one !== null);
    const unit = this.unit.get(this.chosen);
    setAttribute(this.signalChart, "aria-label", t("signal.label", { signal: word(this.chosen),
      now: quantity(this.values?.get(this.chosen) ?? null, unit),
      smallest: quantity(finite.length ? Math.min(...finite) : null, unit),
      largest: quantity(finite.length ? Math.max(...finite) : null, unit) }));
  }

  #remake() {
    this.score?.recolour();
    this.signal?.recolour();
  }
}
