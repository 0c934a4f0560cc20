// From the node's state to machines: what state each is in, why, and what to do. No elements here.

import { clock, duration, list, quantity, reasonText, sentence, t, word } from "./texts.js";

// The most urgent first. `old`: it was normal when the last values came.
export const STATES = ["active", "low", "latched", "acknowledged", "stale", "notready", "suppressed",
  "shelved", "unknown", "old", "normal"];
const PRIORITIES = ["critical", "high", "medium", "low"];
const QUIET = new Set(["unknown", "old", "normal"]); // sorted by name, so that each stays in its place
const SHOWN_SIGNALS = 2;
// Samples come, but nothing is judged.
const WITHOUT_DECISION = {
  no_window: { why: "why.no_window", what: "do.no_window" },
  bad_values: { why: "why.bad_values", what: "do.bad_values" },
};
const ADVICE_DIGITS = 2;
const OTHER_STATES = new Set(["undeclared", "unknown"]);
const BY_NAME = new Intl.Collator(undefined, { numeric: true });

/** Return what an alarm means for its operator, in the states of ISA-18.2. */
export const statusOf = (asset) => asset.status ??
  ({ active: "unacknowledged", latched: "returned" }[asset.alarm] ?? "normal");

/** Return whether the score says nothing: the machine is in conditions that the model does not know. */
const isUnclear = (asset) => (asset.reason ?? "score") !== "score";

/** Return the state of a machine in one pipeline. */
function stateOf(pipeline, asset) {
  const status = statusOf(asset);
  if (status === "unacknowledged") return isUnclear(asset) ? "low" : "active";
  if (status === "returned") return "latched";
  if (status === "acknowledged") return "acknowledged";
  if (asset.state === "stale") return "stale";
  if (asset.state === "unknown" && asset.refused) return "stale";
  if (asset.alarm === "active" || asset.alarm === "latched") return status;
  if (pipeline.fault) return "notready";
  return asset.state === "unknown" || asset.alarm === "unknown" ? "unknown" : "normal";
}

/** Return all machines, the most urgent first; each with its parts, one for each pipeline. */
export function machinesOf(state) {
  const machines = new Map();
  for (const pipeline of state.pipelines) {
    for (const asset of pipeline.assets) {
      const machine = machines.get(asset.asset) ?? { key: asset.asset, name: asset.asset, parts: [] };
      machine.parts.push({ pipeline, asset, state: stateOf(pipeline, asset), reasons: state.reasons });
      machines.set(asset.asset, machine);
    }
    if (!pipeline.assets.length) machines.set(`/${pipeline.name}`, withoutAssets(pipeline));
  }
  const found = [...machines.values()];
  for (const machine of found) {
    // Of two models that say the same, the one that names a cause speaks for the machine.
    machine.parts.sort((a, b) => STATES.indexOf(a.state) - STATES.indexOf(b.state) ||
      priorityOf(a) - priorityOf(b) ||
      Boolean(b.asset.diagnosis) - Boolean(a.asset.diagnosis) ||
      (a.state === "normal" ? (shareOf(b) ?? 0) - (shareOf(a) ?? 0) : 0));
    machine.worst = machine.parts[0];
    machine.state = machine.worst.state;
    const times = machine.parts.filter((one) => one.state === machine.state && one.asset.since)
      .map((one) => one.asset.since);
    machine.since = times.length ? Math.min(...times) : null;
  }
  // Of machines in the same state the one that changed last comes first.
  const newest = (one) => (QUIET.has(one.state) ? 0 : (one.since ?? 0));
  return found.sort((a, b) => STATES.indexOf(a.state) - STATES.indexOf(b.state) ||
    priorityOf(a.worst) - priorityOf(b.worst) || newest(b) - newest(a) || BY_NAME.compare(a.name, b.name));
}

/** Return the place of a part's priority among those of alarms; what is no alarm has none. */
const priorityOf = ({ asset, state }) =>
  (QUIET.has(state) || state === "stale" ? 0 : PRIORITIES.indexOf(asset.priority ?? "high"));

/** Return for how long an alarm is still shelved. */
export const leftText = (asset, now) =>
  t("shelved.left", { duration: duration(asset.shelved.until - now) });

/** Return the parts of a machine, the most urgent first; equal ones by name. */
export const partsInOrder = (machine) => [...machine.parts].sort((a, b) =>
  STATES.indexOf(a.state) - STATES.indexOf(b.state) ||
  BY_NAME.compare(a.pipeline.name, b.pipeline.name));

/** Return machines whose values are old: of none is it known that it is normal now. */
export function asOld(machines) {
  const old = (one) => (one.state === "normal" ? { ...one, state: "old" } : one);
  return machines.map((machine) => {
    const parts = machine.parts.map(old);
    return { ...old(machine), parts, worst: parts[0] };
  });
}

/** Return a pipeline that has seen no machine yet, as a machine: it must not be invisible. */
function withoutAssets(pipeline) {
  const asset = { asset: pipeline.name, alarm: "unknown", state: "unknown", waiting_for: [] };
  const state = pipeline.fault ? "notready" : "unknown";
  return {
    key: `/${pipeline.name}`, name: pipeline.name, isPipeline: true,
    parts: [{ pipeline, asset, state, reasons: {} }],
  };
}

/** Return how many machines are in each state; with very many, the node has counted them. */
export function countsOf(state, machines) {
  const counts = Object.fromEntries(STATES.map((one) => [one, 0]));
  for (const machine of machines) counts[machine.state] += 1;
  const hidden = state.pipelines.reduce((sum, one) => sum + one.streams - one.assets.length, 0);
  return { counts, hidden };
}

/** Return why a part is in its state, as one line; an alarm without data says so too. */
export function why(part) {
  const { asset, state } = part;
  const reason = [reasonOf(part), ...handlingOf(asset)].filter(Boolean).join(". ");
  if (asset.state === "stale" && state !== "stale")
    return `${reason}. ${t("why.stale.too", { time: clock(asset.last_sample) })}`;
  if (!asset.silent_sources?.length) return reason;
  const silent = t("why.source", { sources: list(asset.silent_sources) });
  return reason ? `${reason}. ${silent}` : silent;
}

/** Return what operators and causes have made of an alarm, as sentences. */
function handlingOf(asset) {
  const found = [];
  if (asset.chattering) found.push(t("why.chattering"));
  if (asset.status === "suppressed") found.push(t("why.suppressed", { cause: causeText(asset.cause) }));
  if (asset.status === "acknowledged" && asset.acknowledged)
    found.push(t(asset.acknowledged.by ? "why.acknowledged.by" : "why.acknowledged",
      { time: clock(asset.acknowledged.at), name: asset.acknowledged.by }));
  if (asset.shelved) {
    const { until, by, reason } = asset.shelved;
    const texts = [t("why.shelved", { time: clock(until, false) }), by ? t("by", { name: by }) : ""];
    found.push(texts.filter(Boolean).join(" ") + (reason ? `: ${reason}` : ""));
  }
  if (asset.followers) found.push(t("why.followers", { n: asset.followers }));
  return found;
}

/** Return a cause, `alarm:<pipeline>/<asset>` or `source:<name>`, as words. */
function causeText(cause) {
  const [kind, name] = [cause.slice(0, cause.indexOf(":")), cause.slice(cause.indexOf(":") + 1)];
  return kind === "source" ? t("cause.source", { name })
    : t("cause.alarm", { name: name.slice(name.indexOf("/") + 1) });
}

function reasonOf(part) {
  const { pipeline, asset, state } = part;
  if (state === "stale") return whyNoData(part);
  if (state === "notready") return capital(pipeline.fault.replace(`pipeline ${pipeline.name}: `, ""));
  if (state === "unknown") return waitingFor(pipeline, asset);
  if (state === "normal" || state === "old") return "";
  if (asset.is_undeclared) return t("why.undeclared");
  const diagnosis = asset.diagnosis;
  if (diagnosis) {
    const meaning = sentence(pipeline.diagnoses[diagnosis]?.meaning ?? "");
    return meaning ? `${capital(word(diagnosis))}: ${meaning}` : capital(word(diagnosis));
  }
  const signals = signalsOf(asset);
  if (!signals.length) return t(asset.cause_known === false ? "why.before" : "why.score");
  const key = state === "latched" ? "why.signals.past" : "why.signals";
  return capital(t(key, { signals: list(signals), n: signals.length }));
}

/** Return since when there is no data, or why no message of the machine is used. */
function whyNoData({ pipeline, asset, reasons }) {
  if (asset.one_stamp) return waitingFor(pipeline, asset);
  const undecided = WITHOUT_DECISION[asset.stale_cause];
  if (undecided) return withSignals(t(undecided.why), asset);
  if (typeof asset.refused === "string" && asset.refused)
    return withSignals(
      t("why.refused", { reason: reasonText(asset.refused, reasons[asset.refused]) }), asset);
  if (typeof asset.refused === "string") return waitingFor(pipeline, asset);
  return asset.since ? t("why.stale", { time: clock(asset.since) }) : "";
}

/** Return a reason with the signals whose values cannot be used, as far as they are known. */
const withSignals = (reason, { at_fault: signals }) => (signals?.length
  ? t("why.at.fault", { reason, signals: list(signals.map(word)) }) : reason);

function waitingFor(pipeline, asset) {
  if (pipeline.hint) return capital(pipeline.hint);
  if (asset.one_stamp)
    return t("why.one.stamp", { n: asset.one_stamp.count, time: clock(asset.one_stamp.time) });
  if (asset.waiting_for.length)
    return t("why.waiting", { signals: list(asset.waiting_for.map(word)) });
  return asset.last_sample ? t("why.window") : t("why.nothing");
}

/** Return the words of the signals that contribute most. */
const signalsOf = (asset) =>
  (asset.top ?? []).slice(0, SHOWN_SIGNALS).map(([name]) => word(name));

/** Return what to do about a machine, as one line; empty if nothing is to be done. */
export function whatToDo(machine, broker) {
  const { pipeline, asset, state } = machine.worst;
  if (state === "normal" || state === "old") return "";
  if (state === "stale" && typeof asset.refused === "string") return t("do.notready");
  const undecided = state === "stale" && WITHOUT_DECISION[asset.stale_cause];
  if (undecided) return t(undecided.what);
  if (state === "stale") return broker.connected ? t("do.stale") : t("do.broker");
  if (state === "notready") return t("do.notready");
  if (state === "unknown") return pipeline.hint ? t("do.hint") : "";
  if (state === "latched") return t("do.latched");
  if (state === "suppressed") return t("do.suppressed");
  if (state === "shelved") return "";
  if (state === "low" || isUnclear(asset) || asset.diagnosis === "outside_domain") return t("do.low");
  const advice = (asset.advice ?? []).find((one) => typeof one.value === "number");
  if (advice && Math.abs(advice.value) >= 0.05)
    return t("do.advice", {
      name: capital(word(advice.name)),
      value: (advice.value > 0 ? "+" : "") + quantity(advice.value, advice.unit, ADVICE_DIGITS),
    });
  const cause = pipeline.diagnoses[asset.diagnosis]?.cause;
  if (cause === "sensor") return t("do.sensor");
  // A model that names the cause may know no signals; another one of the machine may.
  const signals = machine.parts.filter((one) => one.state === state)
    .map((one) => signalsOf(one.asset)).find((names) => names.length);
  return signals ? t("do.signals", { signals: list(signals) }) : t("do.machine");
}

/** Return the operating state of a machine in one pipeline, in words; empty if there is none. */
export function operatingText(asset) {
  if (!asset.operating) return "";
  if (OTHER_STATES.has(asset.operating)) return t(`operating.${asset.operating}`);
  const name = word(asset.operating);
  return asset.not_judged ? `${name}, ${t(`not.judged.${asset.not_judged}`)}` : name;
}

/** Return how far the score is on its way to the threshold: 1 is at it; null: no scale. */
export function shareOf(part) {
  const { pipeline, asset } = part;
  if (asset.score === null || asset.score === undefined) return null;
  const threshold = asset.threshold ?? pipeline.threshold; // a state may have its own
  if (pipeline.abnormal === "low") return asset.score < threshold ? 1.5 : 0;
  if (!(threshold > 0)) return asset.score > threshold ? 1.5 : 0;
  return Math.max(0, asset.score / threshold);
}

export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
