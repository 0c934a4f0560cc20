// A hidden field as a heat map: each value is one pixel, which the browser enlarges.

import { h, redraw } from "./dom.js";
import { capital } from "./machines.js";
import { number, quantity, t, unitText, word } from "./texts.js";

// Dark to bright, so that it is read without colours too.
const STOPS = [[8, 10, 38], [58, 15, 96], [128, 30, 108], [194, 58, 80], [238, 112, 42], [250, 180, 60],
  [255, 246, 190]];
const TICKS = 4;

function colourOf(share) {
  const at = Math.max(0, Math.min(1, share)) * (STOPS.length - 1);
  const index = Math.min(STOPS.length - 2, Math.floor(at));
  return STOPS[index].map((from, channel) =>
    from + (STOPS[index + 1][channel] - from) * (at - index));
}

export function drawFields(element, detail) {
  const fields = detail.fields.filter((one) => one.axes.length === 2);
  const record = detail.has_fields ? [fields, t("field")] : null;
  redraw(element, record, () => record && [
    h("h3", {}, t("field")),
    fields.length ? fields.map(figure) : h("p", { class: "quiet" }, t("field.wait")),
  ].flat());
}

function figure(field) {
  const [x, y] = field.axes.map(readable);
  const finite = field.values.flat().filter((one) => one !== null);
  const [low, high] = [Math.min(...finite), Math.max(...finite)];
  const canvas = h("canvas", { width: x.values.length, height: y.values.length, role: "img",
    "aria-label": t("field.label", { name: capital(word(field.name)),
      smallest: quantity(low, field.unit), largest: quantity(high, field.unit),
      x: word(x.name), y: word(y.name) }) });
  paint(canvas, field.values, low, high);
  return h("figure", { class: "field" },
    h("div", { class: "field-grid" },
      h("div", { class: "y-ticks", "aria-hidden": "true" }, ticks(y)),
      canvas,
      h("div", { class: "key", "aria-hidden": "true" },
        h("span", {}, quantity(Math.round(high), field.unit)), scale(),
        h("span", {}, quantity(Math.round(low), field.unit))),
      h("div", { class: "x-ticks", "aria-hidden": "true" }, ticks(x))),
    h("figcaption", { class: "quiet" },
      `${capital(word(field.name))}. → ${word(x.name)} (${unitText(x.unit)}), ↓ ${word(y.name)} (${
        unitText(y.unit)})`));
}

/** Return an axis in millimetres if metres would be small. */
function readable(axis) {
  const largest = Math.max(...axis.values.map(Math.abs));
  return axis.unit === "m" && largest < 0.1
    ? { ...axis, unit: "mm", values: axis.values.map((one) => one * 1000) } : axis;
}

function ticks(axis) {
  const last = axis.values.length - 1;
  return Array.from({ length: TICKS + 1 }, (_, index) =>
    h("span", {}, number(Number(axis.values[Math.round((last * index) / TICKS)].toPrecision(2)))));
}

function paint(canvas, values, low, high) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  values.forEach((column, x) => column.forEach((value, y) => {
    const share = value === null ? 0 : (value - low) / (high - low || 1);
    image.data.set([...colourOf(share), value === null ? 0 : 255], 4 * (y * canvas.width + x));
  }));
  context.putImageData(image, 0, 0);
}

function scale() {
  const canvas = h("canvas", { width: 1, height: 64, class: "key-scale" });
  paint(canvas, [Array.from({ length: 64 }, (_, index) => 63 - index)], 0, 63);
  return canvas;
}
