// What a physics-informed model estimates: hidden values, parameters with intervals, advice.

import { h, redraw } from "./dom.js";
import { capital } from "./machines.js";
import { number, quantity, t, unitText, word } from "./texts.js";

const SHOWN_ROLES = new Set(["value", "parameter", "advice", "residual", "domain"]);
const DIGITS = 3; // of an estimate
const MARGIN = 0.35; // of the normal range, shown on each side of it

export function drawEstimates(element, detail) {
  const outputs = detail.outputs.filter(
    (one) => SHOWN_ROLES.has(one.role) && (one.value !== null || one.reason));
  const intervals = new Map(detail.outputs.filter((one) => one.role === "interval" && one.value)
    .map((one) => [one.of, one]));
  const order = ["advice", "parameter", "value", "residual", "domain"];
  outputs.sort((a, b) => order.indexOf(a.role) - order.indexOf(b.role));
  redraw(element, [outputs, [...intervals], t("parameters")], () => outputs.length ? [
    h("h3", {}, t("parameters")),
    h("ul", { class: "estimates-list", role: "list" },
      outputs.map((one) => estimate(one, intervals.get(one.name)))),
  ] : []);
}

function estimate(output, interval) {
  const isNumber = typeof output.value === "number";
  const rows = [h("span", { class: "signal-name", title: output.meaning }, capital(word(output.name))),
    h("span", { class: "signal-value" }, output.value === null ? t("withheld")
      : quantity(output.value, output.unit, DIGITS))];
  if (interval) {
    const [low, high] = interval.value;
    rows.push(h("span", { class: "quiet note" }, t("interval", {
      percent: Math.round(interval.level * 100), low: number(low), high: number(high) })));
  }
  let outside = false;
  if (output.normal && isNumber) {
    const [low, high] = output.normal;
    outside = output.value < low || output.value > high;
    rows.push(gauge(output, interval), h("span", { class: outside ? "warning note" : "quiet note" },
      `${outside ? "▲ " : ""}${t(outside ? "out.of.range" : "in.range")} (${
        t("normal.range", { low: number(low), high: number(high) })} ${unitText(output.unit)})`));
  }
  return h("li", { class: "estimate", "data-outside": String(outside), "data-role": output.role },
    ...rows);
}

/** Return a line with the normal range, the value, and its interval. */
function gauge(output, interval) {
  const [low, high] = output.normal;
  const margin = (high - low) * MARGIN;
  const place = (value) =>
    Math.max(0, Math.min(1, (value - low + margin) / (high - low + 2 * margin)));
  const line = h("span", { class: "gauge", "aria-hidden": "true" },
    h("i", { class: "normal-range" }), interval ? h("i", { class: "whisker" }) : null,
    h("b", { class: "pointer" }));
  line.style.setProperty("--low", place(low));
  line.style.setProperty("--high", place(high));
  line.style.setProperty("--at", place(output.value));
  if (interval) {
    line.style.setProperty("--from", place(interval.value[0]));
    line.style.setProperty("--to", place(interval.value[1]));
  }
  return line;
}
