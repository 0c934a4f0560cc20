// What changed last, in words.

import { h, redraw } from "./dom.js";
import { capital } from "./machines.js";
import { clock, duration, has, list, t, word } from "./texts.js";

const SHOWN = 12;

/** Return an event as one line. */
function textOf(event) {
  if (event.kind === "alarm") {
    if (event.chattering) return t("event.alarm.chattering");
    const isUnclear = ["outside_domain", "undeclared_state"].includes(event.reason);
    const state = event.state === "active" && isUnclear ? "low" : event.state;
    const why = event.diagnosis ? word(event.diagnosis)
      : list((event.top ?? []).slice(0, 2).map(word)) || t("score");
    return t(`event.alarm.${state}`, { why });
  }
  if (event.kind === "command") {
    const what = t(`event.command.${event.command}`,
      { fault: word(event.text ?? ""), duration: duration(event.seconds ?? 0) });
    const done = event.by ? `${what} ${t("by", { name: event.by })}` : what;
    return event.reason ? `${done}: ${event.reason}` : done;
  }
  if (event.kind === "stale" && event.cause === "refused") return t("event.stale.refused");
  if (event.kind === "stale" && event.cause === "no_window") return t("why.no_window");
  if (event.kind === "stale" && event.cause === "bad_values") return t("why.bad_values");
  if (event.kind === "stale")
    return t(event.cause === "broker_connection" ? "event.stale.broker" : "event.stale");
  if (event.kind === "quality") return t("event.quality", { quality: t(event.quality) });
  if (event.kind === "operating") {
    const key = `operating.${event.operating}`;
    return t("event.operating", { state: has(key) ? t(key) : word(event.operating) });
  }
  if (event.kind === "provider")
    return t(event.reason ? "event.provider.reason" : "event.provider", event);
  const key = `event.${event.kind}`;
  return has(key) ? t(key, event) : event.kind;
}

function subject(event) {
  if (!event.assets.length) return event.pipeline;
  const more = event.count - event.assets.length;
  return event.assets.join(", ") + (more > 0 ? ` ${t("and.more", { n: more })}` : "");
}

/** Draw the newest events; `asset` is the machine that is shown, if it is one. */
export function drawEvents(element, events, pipelines, asset = null) {
  const shown = events.slice(0, SHOWN);
  const names = pipelines.length > 1;
  redraw(element, [shown, names, asset, t("events")], () => [
    h("h2", { id: "events-title" }, t("events")),
    shown.length
      ? h("ol", { class: "events", role: "list" }, shown.map((event) =>
          h("li", { class: `event kind-${event.kind}`, "data-state": event.state ?? "" },
            h("time", {}, clock(event.time)),
            h("span", { class: "of", translate: "no" },
              asset === null ? subject(event) : names && event.assets.length ? event.pipeline : ""),
            h("span", { class: "what" }, capital(textOf(event))))))
      : h("p", { class: "quiet" }, t("events.none")),
  ]);
}
