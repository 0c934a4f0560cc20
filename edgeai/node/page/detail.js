// One machine: what is wrong, the last hour, signals, the inside, and how it is computed.

import { fetchAsset } from "./api.js";
import { drawActions } from "./actions.js";
import { h, keyed, redraw, setAttribute, setShape, setText, shape } from "./dom.js";
import { drawEvents } from "./events.js";
import { drawEstimates } from "./estimates.js";
import { drawFields } from "./heatmap.js";
import { HourView } from "./hour.js";
import { operatingText, partsInOrder, whatToDo, why } from "./machines.js";
import { sinceText } from "./overview.js";
import { markedSignals, SignalTable } from "./signals.js";
import { fact, providerText, reasonsList, shownRate } from "./system.js";
import { clock, duration, number, t } from "./texts.js";

const POLL_MS = 500;

export class MachineView {
  constructor(main, name) {
    this.main = main;
    this.machine = name;
    this.details = new Map();
    this.title = h("h1", { tabIndex: -1, translate: "no" }, name);
    this.shape = shape("unknown");
    this.word = h("strong", { class: "word" });
    this.since = h("span", { class: "since" });
    this.why = h("p", { class: "why" });
    this.act = h("p", { class: "act" });
    this.actions = h("div", { class: "actions" });
    this.head = h("section", { class: "machine-head is-unknown", "aria-label": name },
      this.shape,
      h("div", { class: "machine-words" }, this.title,
        h("p", { class: "status" }, this.word, " ", this.since), this.why, this.act));
    this.back = h("a", { class: "back", href: "#/" });
    this.sections = h("div", { class: "parts" });
    this.events = h("section", { class: "panel", "aria-labelledby": "events-title" });
    main.replaceChildren(h("nav", { class: "crumbs" }, this.back), this.head, this.actions,
      this.sections, this.events);
    this.#poll();
  }

  focus() {
    this.title.focus();
  }

  close() {
    this.closed = true;
    for (const part of this.sections.keyed?.values() ?? []) part.close();
    this.main.replaceChildren();
  }

  async #poll() {
    if (this.closed) return;
    try {
      const found = await fetchAsset(this.machine);
      this.faults = found.faults;
      this.ownEvents = found.events;
      for (const detail of found.pipelines) this.details.set(detail.name, detail);
    } catch {
      // the state says what is the matter
    }
    if (!this.closed) setTimeout(() => this.#poll(), document.hidden ? 10 * POLL_MS : POLL_MS);
  }

  draw({ state, machines, now, isOld, rates }) {
    setText(this.back, `← ${t("back")}`);
    setAttribute(this.back, "aria-label", t("back.label"));
    const machine = machines.find((one) => one.name === this.machine && !one.isPipeline);
    if (!machine) {
      setText(this.word, t("gone"));
      setText(this.why, t("gone.text"));
      return;
    }
    const part = machine.worst;
    setAttribute(this.head, "class", `machine-head is-${machine.state}`);
    setAttribute(this.main, "data-worst", isOld ? "stale" : machine.state);
    setShape(this.shape, machine.state);
    setText(this.word, t(machine.state));
    setText(this.since, machine.since ? sinceText(machine.since, now) : "");
    setText(this.why, why(part));
    redraw(this.act, whatToDo(machine, state.broker), (text) => text && [h("b", {}, t("do")), " ", text]);
    this.act.hidden = !this.act.textContent;
    drawActions(this.actions, machine, state.commands, this.faults ?? {}, now);
    const parts = partsInOrder(machine).map((one) => ({ key: one.pipeline.name, ...one }));
    keyed(this.sections, parts, (one) => new PartView(one));
    for (const one of parts)
      this.sections.keyed.get(one.key).draw(one, this.details.get(one.key), state, { now, rates });
    const ofNode = state.events.filter((event) => !event.assets.length &&
      (!event.pipeline || this.sections.keyed.has(event.pipeline)));
    const all = [...(this.ownEvents ?? []), ...ofNode].sort((a, b) => b.time - a.time);
    drawEvents(this.events, all, state.pipelines, this.machine);
  }
}

/** One machine in one pipeline. */
class PartView {
  constructor(part) {
    const id = `part-${part.pipeline.name}`;
    this.heading = h("h2", { id });
    this.shape = shape(part.state);
    this.word = h("span", { class: "part-word" });
    this.hour = new HourView(part);
    this.signals = new SignalTable((name) => this.hour.choose(name));
    this.fields = h("div", { class: "fields" });
    this.estimates = h("div", { class: "estimates" });
    this.runtime = h("div", { class: "runtime" });
    this.element = h("section", { class: "part", "aria-labelledby": id },
      h("header", { class: "part-head" }, this.shape, this.heading, this.word),
      h("div", { class: "columns" },
        h("div", { class: "wide" }, this.hour.element, this.fields, this.estimates),
        h("div", { class: "narrow" }, this.signals.element, this.runtime)));
  }

  update() {
    // `draw` does it, with what else it needs
  }

  draw(part, detail, state, { now, rates }) {
    const { pipeline, asset } = part;
    setShape(this.shape, part.state);
    setAttribute(this.element, "class", `part is-${part.state}`);
    setText(this.heading, t("model.of", { model: pipeline.model }));
    setText(this.word, t(part.state));
    this.hour.draw(part, state);
    if (detail) {
      const isOver = asset.alarm === "latched"; // the signals that raised the alarm stay marked
      const names = (isOver ? asset.top : detail.top) ?? [];
      const score = isOver ? names.reduce((sum, [, value]) => sum + value, 0) : asset.score;
      this.hour.suggest(markedSignals(names, score, part.state), detail.signals);
      this.signals.draw(detail, names, score, part.state, this.hour.chosen);
      drawEstimates(this.estimates, detail, asset);
      drawFields(this.fields, detail);
    }
    const rate = shownRate(rates.of((one) => one.pipelines.get(pipeline.name)));
    redraw(this.runtime, { ...runtimeRecord(part, now), rate, cycle: detail?.cycle ?? null },
      (shown) => runtime(shown, pipeline, state.reasons));
  }

  close() {
    this.hour.close();
  }
}

/** What is known of the newest cycle that has ended, and whether one goes on. */
function cycleText({ last, open_since: since }) {
  const texts = [];
  if (last) {
    const named = last.number === null ? "cycle.last.unnumbered" : "cycle.last";
    texts.push(t(named, {
      number: last.number, seconds: number(last.duration_seconds), at: clock(last.end),
    }));
    if (last.outcome !== "complete") texts.push(t(`cycle.${last.outcome}`));
  }
  texts.push(since === null ? t("cycle.none") : t("cycle.open", { at: clock(since) }));
  return texts.join("; ");
}

function runtimeRecord({ pipeline, asset }, now) {
  return {
    title: t("runtime"), provider: [pipeline.provider, pipeline.requested, pipeline.reason],
    operating: operatingText(asset),
    operatingSince: asset.operating_since ? clock(asset.operating_since) : "",
    threshold: asset.threshold ?? pipeline.threshold,
    priority: asset.alarm === "normal" || asset.alarm === "unknown" ? "" : asset.priority,
    position: pipeline.position ?? "",
    quality: asset.quality, messages: pipeline.messages, drops: pipeline.drops, invalid: pipeline.invalid,
    last: asset.last_sample ? Math.round(now - asset.last_sample) : null,
    at: asset.last_sample && now - asset.last_sample > 90 ? clock(asset.last_sample) : "",
  };
}

function runtime(shown, pipeline, reasons) {
  return [
    h("h3", {}, shown.title),
    h("dl", { class: "facts" },
      fact(t("provider"), providerText(pipeline)),
      fact(t("model"), h("span", { translate: "no" }, `${pipeline.model} ${pipeline.version}`)),
      fact(t("threshold"), number(shown.threshold)),
      shown.priority ? fact(t("priority"), t(`priority.${shown.priority}`)) : null,
      shown.position ? fact(t("position"), h("span", { translate: "no" }, shown.position)) : null,
      shown.operating ? fact(t("operating"),
        shown.operatingSince ? `${shown.operating}, ${t("since", { time: shown.operatingSince })}`
          : shown.operating) : null,
      shown.quality === "unknown" ? null : fact(t("quality"), t(shown.quality)),
      shown.cycle === null ? null : fact(t("cycle"), cycleText(shown.cycle)),
      shown.last === null ? null
        : fact(t("last.sample"), shown.at || t("ago", { duration: duration(shown.last) })),
      fact(t("rate.pipeline"), t("messages.total", { rate: shown.rate, n: shown.messages })),
      fact(t("refused"), reasonsList(shown.drops ?? {}, reasons)),
      Object.keys(shown.invalid ?? {}).length
        ? fact(t("invalid"), reasonsList(shown.invalid, {})) : null,
      fact(t("topic"), h("code", {}, pipeline.topic))),
  ];
}
