// The node itself: connection, rates, what was dropped, who computes.

import { h, redraw } from "./dom.js";
import { duration, number, reasonText, t } from "./texts.js";

/** Return a row of a list of facts. */
export const fact = (name, ...values) => [h("dt", {}, name), h("dd", {}, ...values)];

/** Return a rate as text; null is not known yet. */
export const shownRate = (rate) => (rate === null ? "–" : rate < 10 ? rate.toFixed(1) : rate.toFixed(0));

/** Return counts by reason as a list with the reasons in words; a text if there is none. */
export function reasonsList(counts, reasons) {
  const found = Object.entries(counts).filter(([, n]) => n).sort((a, b) => b[1] - a[1]);
  if (!found.length) return t("refused.none");
  return h("ul", { class: "reasons" }, found.map(([reason, n]) =>
    h("li", {}, h("b", {}, number(n)), " ", reasonText(reason, reasons[reason]))));
}

/** Return who computes a pipeline, and why it is not the one that was asked for. */
export function providerText(pipeline) {
  const note = pipeline.reason
    ? t("instead.of", { requested: pipeline.requested, reason: pipeline.reason })
    : t("as.requested");
  return [h("b", { translate: "no" }, pipeline.provider), " ",
    h("span", { class: pipeline.reason ? "warning" : "quiet" }, note)];
}

export function drawSystem(element, state, rates, now) {
  const refused = { ...state.refused };
  for (const pipeline of state.pipelines)
    for (const [reason, n] of Object.entries(pipeline.drops ?? {}))
      refused[reason] = (refused[reason] ?? 0) + n;
  const workers = state.workers ?? [];
  const record = {
    title: t("system"), version: state.version, node: state.node, broker: state.broker, refused,
    up: duration(now - state.started), received: state.received,
    messages: shownRate(rates.of((one) => one.received)),
    predictions: shownRate(rates.of((one) => one.predicted)), predicted: state.predicted,
    pipelines: state.pipelines.map(({ name, model, version, provider, requested, reason }) =>
      ({ name, model, version, provider, requested, reason })),
    workers: [workers.filter((one) => one.ready).length, workers.length],
    commands: state.commands.length,
  };
  redraw(element, record, (shown) => [
    h("h2", { id: "system-title" }, shown.title),
    h("dl", { class: "facts" },
      fact(t("broker"), t(shown.broker.connected ? "connected.to" : "not.connected", shown.broker)),
      fact(t("rate"), t("messages.total", { rate: shown.messages, n: shown.received })),
      fact(t("predictions"), t("messages.total", { rate: shown.predictions, n: shown.predicted })),
      fact(t("refused"), reasonsList(shown.refused, state.reasons)),
      shown.workers[1] ? fact(t("workers"),
        t("workers.ready", { n: shown.workers[0], of: shown.workers[1] })) : null,
      shown.pipelines.map((one) =>
        fact(one.name, h("span", { translate: "no" }, `${one.model} ${one.version}`), " · ",
          providerText(one))),
      fact(t("running.for"), shown.up),
      fact(t("version"), h("span", { translate: "no" }, `edgeai ${shown.version}`))),
    shown.commands ? null : h("p", { class: "quiet" }, t("no.commands")),
  ]);
}
