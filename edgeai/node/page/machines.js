// From the node's state to machines: what state each is in, why, and what to do. No elements here.

import { clock, list, quantity, reasonText, sentence, t, word } from "./texts.js";

// The most urgent first.
export const STATES = ["active", "low", "latched", "stale", "notready", "unknown", "normal"];
const SHOWN_SIGNALS = 2;
// Samples come, but nothing is judged.
const WITHOUT_DECISION = {
  no_window: { why: "why.no_window", what: "do.no_window" },
  bad_values: { why: "why.bad_values", what: "do.bad_values" },
};
const ADVICE_DIGITS = 2;

/** Return the state of a machine in one pipeline. */
function stateOf(pipeline, asset) {
  if (asset.alarm === "active") return asset.priority === "low" ? "low" : "active";
  if (asset.alarm === "latched") return "latched";
  if (asset.state === "stale") return "stale";
  if (asset.state === "unknown" && asset.refused) return "stale";
  if (pipeline.fault) return "notready";
  return asset.state === "unknown" || asset.alarm === "unknown" ? "unknown" : "normal";
}

/** Return all machines, the most urgent first; each with its parts, one for each pipeline. */
export function machinesOf(state) {
  const machines = new Map();
  for (const pipeline of state.pipelines) {
    for (const asset of pipeline.assets) {
      const machine = machines.get(asset.asset) ?? { key: asset.asset, name: asset.asset, parts: [] };
      machine.parts.push({ pipeline, asset, state: stateOf(pipeline, asset) });
      machines.set(asset.asset, machine);
    }
    if (!pipeline.assets.length) machines.set(`/${pipeline.name}`, withoutAssets(pipeline));
  }
  const found = [...machines.values()];
  for (const machine of found) {
    // Of two models that say the same, the one that names a cause speaks for the machine.
    machine.parts.sort((a, b) => STATES.indexOf(a.state) - STATES.indexOf(b.state) ||
      Boolean(b.asset.diagnosis) - Boolean(a.asset.diagnosis) ||
      (a.state === "normal" ? (shareOf(b) ?? 0) - (shareOf(a) ?? 0) : 0));
    machine.worst = machine.parts[0];
    machine.state = machine.worst.state;
    const times = machine.parts.filter((one) => one.state === machine.state && one.asset.since)
      .map((one) => one.asset.since);
    machine.since = times.length ? Math.min(...times) : null;
  }
  const byName = new Intl.Collator(undefined, { numeric: true });
  return found.sort(
    (a, b) =>
      STATES.indexOf(a.state) - STATES.indexOf(b.state) || byName.compare(a.name, b.name),
  );
}

/** Return a pipeline that has seen no machine yet, as a machine: it must not be invisible. */
function withoutAssets(pipeline) {
  const asset = { asset: pipeline.name, alarm: "unknown", state: "unknown", waiting_for: [] };
  const state = pipeline.fault ? "notready" : "unknown";
  return {
    key: `/${pipeline.name}`, name: pipeline.name, isPipeline: true,
    parts: [{ pipeline, asset, state }],
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
  const reason = reasonOf(part);
  if (asset.state === "stale" && state !== "stale")
    return `${reason}. ${t("why.stale.too", { time: clock(asset.last_sample) })}`;
  if (!asset.silent_sources?.length) return reason;
  const silent = t("why.source", { sources: list(asset.silent_sources) });
  return reason ? `${reason}. ${silent}` : silent;
}

function reasonOf(part) {
  const { pipeline, asset, state } = part;
  if (state === "stale") return whyNoData(part);
  if (state === "notready") return capital(pipeline.fault.replace(`pipeline ${pipeline.name}: `, ""));
  if (state === "unknown") return waitingFor(pipeline, asset);
  if (state === "normal") return "";
  const diagnosis = asset.diagnosis;
  if (diagnosis) {
    const meaning = sentence(pipeline.diagnoses[diagnosis]?.meaning ?? "");
    return meaning ? `${capital(word(diagnosis))}: ${meaning}` : capital(word(diagnosis));
  }
  const signals = signalsOf(asset);
  if (!signals.length) return t(asset.time === null ? "why.before" : "why.score");
  const key = state === "latched" ? "why.signals.past" : "why.signals";
  return capital(t(key, { signals: list(signals), n: signals.length }));
}

/** Return since when there is no data, or why no message of the machine is used. */
function whyNoData({ pipeline, asset }) {
  if (asset.one_stamp) return waitingFor(pipeline, asset);
  const undecided = WITHOUT_DECISION[asset.stale_cause];
  if (undecided) return t(undecided.why);
  if (typeof asset.refused === "string" && asset.refused)
    return t("why.refused", { reason: reasonText(asset.refused) });
  if (typeof asset.refused === "string") return waitingFor(pipeline, asset);
  return asset.since ? t("why.stale", { time: clock(asset.since) }) : "";
}

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
  if (state === "normal") return "";
  if (state === "stale" && typeof asset.refused === "string") return t("do.notready");
  const undecided = state === "stale" && WITHOUT_DECISION[asset.stale_cause];
  if (undecided) return t(undecided.what);
  if (state === "stale") return broker.connected ? t("do.stale") : t("do.broker");
  if (state === "notready") return t("do.notready");
  if (state === "unknown") return pipeline.hint ? t("do.hint") : "";
  if (state === "latched") return t("do.latched");
  if (state === "low" || asset.diagnosis === "outside_domain") return t("do.low");
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

/** Return how far the score is on its way to the threshold: 1 is at it; null: no scale. */
export function shareOf(part) {
  const { pipeline, asset } = part;
  if (asset.score === null || asset.score === undefined) return null;
  if (pipeline.abnormal === "low") return asset.score < pipeline.threshold ? 1.5 : 0;
  if (!(pipeline.threshold > 0)) return asset.score > pipeline.threshold ? 1.5 : 0;
  return Math.max(0, asset.score / pipeline.threshold);
}

export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
