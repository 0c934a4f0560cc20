// The signals of a model with their newest values; those that contribute most come first.

import { h, keyed, setAttribute, setText } from "./dom.js";
import { quantity, t, word } from "./texts.js";

const MARKED_SHARE = 0.05; // of the score
const ABNORMAL = ["active", "low", "latched", "acknowledged", "suppressed", "shelved"];

/** Return the signals that are marked: those that contribute to an alarm, the largest first. */
export function markedSignals(top, score, state) {
  if (!ABNORMAL.includes(state)) return [];
  return top.filter(([, value]) => score > 0 && value / score >= MARKED_SHARE).map(([name]) => name);
}

export class SignalTable {
  /** `choose` is called with the name of a signal whose last hour is wanted. */
  constructor(choose) {
    this.choose = (name) => {
      choose(name);
      for (const row of this.rows.keyed.values()) row.press(name); // at once, not with the next answer
    };
    this.heading = h("h3");
    this.rows = h("ul", { class: "signals", role: "list" });
    this.element = h("div", {}, this.heading, this.rows);
  }

  draw(detail, top, score, state, chosen) {
    setText(this.heading, t("signals"));
    const marked = new Set(markedSignals(top, score, state));
    // The contributions of all signals sum to the score; `top` holds the largest ones.
    const shares = new Map(top.map(([name, value]) => [name, score > 0 ? value / score : 0]));
    const rows = detail.signals.map((signal) => {
      const share = shares.get(signal.name) ?? 0;
      return { ...signal, key: signal.name, isChosen: signal.name === chosen,
        share: marked.has(signal.name) ? Math.min(1, share) : 0 };
    });
    rows.sort((a, b) => b.share - a.share); // stable: the others keep the model's order
    keyed(this.rows, rows, () => new Row(this.choose));
  }
}

class Row {
  constructor(choose) {
    this.name = h("span", { class: "signal-name" });
    this.mark = h("span", { class: "mark" });
    this.value = h("span", { class: "signal-value" });
    this.level = h("span", { class: "share", "aria-hidden": "true" });
    this.button = h("button", { type: "button", class: "signal",
      onclick: () => choose(this.signal.name) },
    this.name, this.value, this.mark, this.level);
    this.element = h("li", {}, this.button);
  }

  press(name) {
    setAttribute(this.button, "aria-pressed", String(this.signal.name === name));
  }

  update(signal) {
    this.signal = signal;
    setText(this.name, word(signal.name));
    setText(this.value, quantity(signal.value, signal.unit));
    setText(this.mark, signal.share
      ? `▲ ${t("contributes", { percent: Math.round(signal.share * 100) })}`
      : signal.is_held ? t("held") : "");
    this.level.style.setProperty("--share", signal.share.toFixed(3));
    setAttribute(this.button, "data-marked", String(signal.share > 0));
    setAttribute(this.button, "aria-pressed", String(signal.isChosen));
    setAttribute(this.button, "title", [signal.meaning,
      signal.range && `${t("range")}: ${quantity(signal.range, signal.unit)}`]
      .filter(Boolean).join(". "));
  }
}
