// All machines: those that need something as large tiles, the others as small ones.

import { h, keyed, redraw, remPixels, setAttribute, setShape, setText, shape } from "./dom.js";
import { leftText, operatingText, shareOf, STATES, whatToDo, why } from "./machines.js";
import { drawEvents } from "./events.js";
import { drawSystem } from "./system.js";
import { clock, duration, t } from "./texts.js";

const URGENT = new Set(["active", "low", "latched", "acknowledged", "stale", "notready"]);
const ASIDE = new Set(["suppressed", "shelved"]);
const SOME_REM = 16 * 5.2; // area of a tile of the size `some` among the healthy ones, with its gap
const SOME_SHARE = 0.6; // of the screen that such tiles may take
const MIN_SOME = 30; // machines; so many have this size on every screen
const CLOCK_SECONDS = 6 * 3600; // longer ago, the time of day says more than a duration

export class Overview {
  constructor(main) {
    this.main = main;
    this.summary = h("h1", { id: "summary", tabIndex: -1 });
    this.counts = h("ul", { class: "counts", role: "list" });
    this.attention = new Group("attention");
    this.aside = new Group("aside");
    this.waiting = new Group("waiting");
    this.healthy = new Group("healthy");
    this.hidden = h("p", { class: "hidden-machines" });
    this.system = h("section", { class: "panel system", "aria-labelledby": "system-title" });
    this.events = h("section", { class: "panel", "aria-labelledby": "events-title" });
    const machines = h("div", { id: "machines" }, this.attention.element, this.aside.element,
      this.waiting.element, this.healthy.element, this.hidden);
    this.below = h("div", { class: "below" }, this.events, this.system);
    this.below.hidden = true;
    main.replaceChildren(
      h("div", { class: "summary" }, this.summary, this.counts), machines, this.below);
  }

  /** Put the focus on the tile of a machine, or on the heading. */
  focus(name) {
    const tile = name &&
      this.main.querySelector(`a[href="#/machine/${CSS.escape(encodeURIComponent(name))}"]`);
    (tile || this.summary).focus();
  }

  drawEmpty(text) {
    setText(this.summary, text);
  }

  draw({ state, machines, summary, counts, hidden, isOld, now, rates, worst }) {
    setText(this.summary, summary);
    setAttribute(this.main, "data-worst", isOld ? "stale" : (worst ?? "unknown"));
    // The heading tells the worst state, unless the values are old.
    const shown = STATES.filter((one) => counts[one] && (isOld || one !== worst))
      .map((one) => [one, counts[one]]);
    redraw(this.counts, [shown, t("language")], ([all]) =>
      all.map(([one, n]) =>
        h("li", { class: `count is-${one}` }, shape(one), t(`${one}.count`, { n }))));
    const context = { broker: state.broker, now };
    const urgent = machines.filter((one) => URGENT.has(one.state));
    const waiting = machines.filter((one) => one.state === "unknown");
    const healthy = machines.filter((one) => ["normal", "old"].includes(one.state));
    this.attention.draw(urgent, context);
    this.aside.draw(machines.filter((one) => ASIDE.has(one.state)), context);
    this.waiting.draw(waiting, context);
    this.healthy.draw(healthy, context);
    setText(this.hidden, hidden ? t("hidden", { n: hidden }) : "");
    this.below.hidden = false;
    drawEvents(this.events, state.events, state.pipelines);
    drawSystem(this.system, state, rates, now);
  }

  close() {
    this.main.replaceChildren();
    this.main.removeAttribute("data-worst");
  }
}

/** The tiles of one kind, with a heading. */
class Group {
  constructor(kind) {
    this.kind = kind;
    this.heading = h("h2", { id: `${kind}-title` });
    this.tiles = h("ul", { class: `tiles ${kind}`, role: "list" });
    this.element = h("section", { "aria-labelledby": `${kind}-title` }, this.heading, this.tiles);
  }

  draw(machines, context) {
    this.element.hidden = !machines.length;
    setText(this.heading, t(machines[0]?.state === "old" ? "old" : this.kind));
    const some = this.kind === "healthy" ? mostOfSizeSome() : 8;
    const size = machines.length <= 3 ? "few" : machines.length <= some ? "some" : "many";
    setAttribute(this.tiles, "data-size", size);
    keyed(this.tiles, machines, (machine) => new Tile(machine, this.kind));
    for (const item of this.tiles.keyed.values()) item.draw(context);
  }
}

/** Return how many healthy machines are shown in the size `some`: large names where there is room. */
function mostOfSizeSome() {
  const screen = (innerWidth * innerHeight) / remPixels() ** 2;
  return Math.max(MIN_SOME, Math.floor((SOME_SHARE * screen) / SOME_REM));
}

/** One machine. */
class Tile {
  constructor(machine, kind) {
    this.isLarge = kind !== "healthy";
    this.shape = shape(machine.state);
    this.name = h("span", { class: "name", translate: "no" });
    this.word = h("strong", { class: "word" });
    this.since = h("span", { class: "since" });
    this.operating = h("span", { class: "operating" });
    this.why = h("span", { class: "why" });
    this.act = h("span", { class: "act" });
    this.bar = h("span", { class: "bar-of-score", "aria-hidden": "true" },
      h("i", { class: "level" }), h("b", { class: "limit" }));
    this.percent = h("span", { class: "percent" });
    this.link = h("a", { class: "tile" }, this.shape,
      h("span", { class: "head" }, this.name, h("span", { class: "status" }, this.word, " ", this.since)),
      this.operating, this.why, this.act, h("span", { class: "scale" }, this.bar, this.percent));
    this.element = h("li", {}, this.link);
  }

  update(machine) {
    this.machine = machine;
  }

  draw(context) {
    const { machine } = this;
    const part = machine.worst;
    setAttribute(this.link, "class", `tile is-${machine.state}`);
    if (machine.isPipeline) this.link.removeAttribute("href");
    else setAttribute(this.link, "href", `#/machine/${encodeURIComponent(machine.name)}`);
    setShape(this.shape, machine.state);
    setAttribute(this.name, "title", machine.name); // a long one is cut
    setText(this.name, machine.isPipeline ? t("pipeline", { name: machine.name }) : machine.name);
    setText(this.word, t(machine.state));
    const { since } = machine;
    setText(this.since, this.isLarge && since ? sinceText(since, context.now) : "");
    const operating = machine.parts.map((one) => operatingText(one.asset)).find(Boolean) ?? "";
    const shelved = machine.parts.find((one) => one.asset.shelved);
    const notes = [["stale", "old"].includes(part.state) ? "" : operating,
      shelved ? leftText(shelved.asset, context.now) : ""];
    setText(this.operating, notes.filter(Boolean).join(" · "));
    this.operating.hidden = !this.operating.textContent;
    setText(this.why, this.isLarge ? why(part) : "");
    redraw(this.act, this.isLarge ? whatToDo(machine, context.broker) : "",
      (text) => text && [h("b", {}, t("do")), " ", text]);
    this.act.hidden = !this.act.textContent;
    const share = ["stale", "old"].includes(part.state) ? null : shareOf(part);
    this.bar.parentElement.hidden = share === null;
    if (share !== null) {
      const percent = Math.round(share * 100);
      this.bar.style.setProperty("--share", Math.min(1, share / 1.5).toFixed(3));
      setAttribute(this.bar, "data-over", String(share > 1));
      setText(this.percent, this.isLarge ? t("of.threshold", { percent: Math.min(percent, 99999) })
        : `${Math.min(percent, 99999)} %`);
      setAttribute(this.percent, "aria-label",
        t("of.threshold", { percent: Math.min(percent, 99999) }));
    }
  }
}

/** Return since when: as a duration, or, if it is long ago, as a time. */
export function sinceText(since, now) {
  const seconds = now - since;
  return seconds > CLOCK_SECONDS ? t("since", { time: clock(since, false) })
    : t("for", { duration: duration(seconds) });
}
