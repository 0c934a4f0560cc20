// Charts over the last hour, by uPlot (vendor/uplot), in the colours of the page.

import { remPixels } from "./dom.js";
import { colour } from "./theme.js";
import { currentLanguage, number } from "./texts.js";

const HOUR = 3600;
const SHORT = 300; // seconds; the axis begins so short, and grows with the history
const MINUTES = [60, 120, 300, 600, 900, 1800]; // between two times on the axis
const BANDS = { 2: "band-alarm", 3: "band-latched", 4: "band-latched", 5: "band-stale" };

let loading = null;

/** Load uPlot; charts can be made once this has been awaited. */
export function loadPlot() {
  loading ??= new Promise((resolve, reject) => {
    const sheet = document.createElement("link");
    sheet.rel = "stylesheet";
    sheet.href = "page/vendor/uplot/uPlot.min.css";
    const script = document.createElement("script");
    script.src = "page/vendor/uplot/uPlot.iife.min.js";
    script.onload = resolve;
    script.onerror = () => {
      loading = null; // the next call tries again
      sheet.remove();
      script.remove();
      reject(new Error("the plot library is not there"));
    };
    document.head.append(sheet, script);
  });
  return loading;
}

/**
 * Make a chart in an element, after `loadPlot`. It awaits nothing: two calls in turn would each find
 * that there is no chart yet, and make one.
 *
 * `kind` is `score` (smallest, largest, threshold) or `signal` (value). `codes` returns the state of
 * each step, for the shaded bands; `end` the time of the newest step.
 */
export function makeChart(element, { kind, codes, end }) {
  const { uPlot } = globalThis;
  let plot = null;
  let data = null;
  let limits = {};

  const size = (pixels) => Math.round((pixels * remPixels()) / 16);
  const height = () => size(kind === "score" ? 260 : 150);
  const width = () => Math.max(200, element.clientWidth);

  function bands(u) {
    const { ctx, bbox } = u;
    const times = u.data[0];
    const half = times.length > 1 ? (times[1] - times[0]) / 2 : 2.5;
    const all = codes();
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    for (let from = 0; from < all.length; ) {
      let to = from;
      while (to + 1 < all.length && all[to + 1] === all[from]) to += 1;
      const name = BANDS[all[from]];
      if (name) {
        const left = u.valToPos(times[from] - half, "x", true);
        const right = u.valToPos(times[to] + half, "x", true);
        ctx.fillStyle = colour(name);
        ctx.fillRect(left, bbox.top, Math.max(2, right - left), bbox.height);
      }
      from = to + 1;
    }
    ctx.restore();
  }

  const axis = (more) => ({
    stroke: colour("quiet"), font: `${size(13)}px system-ui, sans-serif`,
    grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line"), width: 1 },
    ...more,
  });

  function options() {
    // A line needs two values; fewer are shown as points.
    const isShort = (u, index) => u.data[index].filter((one) => one !== null).length < 3;
    const line = (name, more = {}) =>
      ({ stroke: colour(name), points: { show: isShort, size: 7, fill: colour(name) }, ...more });
    const series = kind === "score"
      ? [{}, line("trace", { width: 1 }), line("trace", { width: 2 }),
        line("limit", { width: 2, dash: [8, 5] })]
      : [{}, line("trace", { width: 2 })];
    return {
      width: width(), height: height(), series,
      bands: kind === "score" ? [{ series: [2, 1], fill: colour("trace-fill") }] : [],
      legend: { show: false },
      cursor: { sync: { key: "hour" }, points: { size: 8 }, drag: { x: false, y: false } },
      scales: {
        x: { time: true, range: () => {
          const span = Math.min(HOUR, Math.max(SHORT, end() - data[0][0]));
          return [end() - span, end()];
        } },
        y: { range: (_, low, high) => kind === "score"
          ? [Math.min(limits.from ?? 0, limits.least ?? 0), Math.max(high ?? 0, limits.least ?? 0) * 1.05]
          : padded(low, high) },
      },
      axes: [
        axis({ size: size(50), space: size(70), incrs: MINUTES, values: (_, all) => all.map((one) => time(one)) }),
        axis({ size: size(64), space: size(38), values: (_, all) => all.map((one) => number(one)) }),
      ],
      hooks: { drawClear: [bands] },
    };
  }

  function make() {
    plot?.destroy();
    plot = new uPlot(options(), data, element);
  }

  const observer = new ResizeObserver(() => {
    if (plot && Math.abs(plot.width - width()) > 1) plot.setSize({ width: width(), height: height() });
  });
  observer.observe(element);

  return {
    set(next, nextLimits) {
      data = next;
      limits = nextLimits;
      if (plot) plot.setData(data);
      else make();
    },
    recolour() {
      if (data) make();
    },
    destroy() {
      observer.disconnect();
      plot?.destroy();
      plot = null;
    },
  };
}

function padded(low, high) {
  if (low === null || low === undefined) return [0, 1];
  const margin = (high - low || Math.abs(high) || 1) * 0.1;
  return [low - margin, high + margin];
}

const time = (seconds) =>
  new Intl.DateTimeFormat(currentLanguage(), { hour: "2-digit", minute: "2-digit", hourCycle: "h23" })
    .format(new Date(seconds * 1000));

