// The commands of a machine: acknowledge, shelve or unshelve an alarm, inject a fault. They need the
// token.

import { operator, Refused, sendCommand, token, Unsendable } from "./api.js";
import { askForToken, askToShelve } from "./dialogs.js";
import { h, redraw, setText } from "./dom.js";
import { leftText, statusOf } from "./machines.js";
import { t, word } from "./texts.js";

/** Draw the buttons that make sense now. */
export function drawActions(element, machine, commands, faults, now) {
  const can = (name) => commands.includes(name);
  const parts = machine.parts.map((part) => ({
    pipeline: part.pipeline.name,
    shelvable: can("shelve") && part.pipeline.shelve_max_seconds && !part.asset.shelved,
    shelved: Boolean(can("unshelve") && part.asset.shelved),
    waits: can("acknowledge") && ["unacknowledged", "returned"].includes(statusOf(part.asset)),
  }));
  const isOne = parts.length === 1;
  const names = can("inject") ? Object.keys(faults) : [];
  element.said ??= h("p", { class: "said", role: "status", tabIndex: -1 });
  element.left ??= h("p", { class: "shelved-left" });
  element.forget ??= h("button", { type: "button", class: "forget", onclick: () => {
    token.forget();
    element.forget.hidden = true;
  } });
  const hadFocus = element.contains(document.activeElement);
  const label = (key, pipeline) => (isOne ? t(key) : `${t(key)}: ${pipeline}`);
  const button = (kind, pipeline, onclick) =>
    h("button", { type: "button", class: kind, "data-pipeline": pipeline, onclick },
      label(kind.split(" ").at(-1), pipeline));
  const give = (name, pipeline, done, more = {}) =>
    run(element.said, name, { pipeline, asset: machine.name, ...more }, done);
  const pipelineOf = (name) => machine.parts.find((one) => one.pipeline.name === name).pipeline;
  redraw(element, { parts, names, words: t("inject") }, () => [
    parts.filter((one) => one.waits).map(({ pipeline }) =>
      button("primary acknowledge", pipeline, () => give("acknowledge", pipeline, t("acknowledge.done")))),
    element.left,
    parts.filter((one) => one.shelved).map(({ pipeline }) =>
      button("unshelve", pipeline, () => give("unshelve", pipeline, t("unshelved")))),
    parts.filter((one) => one.shelvable).map(({ pipeline }) =>
      button("shelve", pipeline, async () => {
        const asked = await askToShelve(pipelineOf(pipeline));
        if (asked) await give("shelve", pipeline, t("shelve.done"), asked);
      })),
    names.length ? h("fieldset", { class: "inject" },
      h("legend", {}, t("inject")),
      h("p", { class: "quiet" }, t("inject.text")),
      h("div", { class: "buttons" },
        names.map((fault) =>
          h("button", { type: "button", title: faults[fault], "data-fault": fault,
            onclick: () => run(element.said, "inject", { asset: machine.name, fault },
              t("injected", { fault: word(fault) })) }, word(fault))),
        h("button", { type: "button", class: "quiet-button",
          onclick: () => run(element.said, "inject", { asset: machine.name, clear: "all" },
            t("cleared")) }, t("clear")))) : null,
    element.said,
    element.forget,
  ].flat(2));
  // The button that had the focus may be gone: what it did is told here.
  if (hadFocus && !element.contains(document.activeElement)) element.said.focus();
  const isOffered = names.length || parts.some((one) => one.waits || one.shelved || one.shelvable);
  // Apart from the buttons, which keep the focus while the time passes.
  setText(element.left, machine.parts.filter((one) => one.asset.shelved)
    .map((one) => (isOne ? "" : `${one.pipeline.name}: `) + leftText(one.asset, now)).join("; "));
  setText(element.forget, token.get() && isOffered ? t("token.forget") : "");
  element.hidden = !isOffered && !element.said.textContent && !element.left.textContent;
}

/** Give a command, one at a time; a second click while one is on its way is that of a double click. */
async function run(said, ...command) {
  if (said.isBusy) return;
  said.isBusy = true;
  try {
    await give(said, ...command);
  } finally {
    said.isBusy = false;
  }
}

/** Give a command; ask for the token if there is none yet, or it is wrong. */
async function give(said, name, content, done) {
  said.textContent = "";
  let hint = "";
  for (;;) {
    if (!token.get() && !(await askForToken(hint))) return;
    try {
      const by = name === "inject" || !operator.get() ? {} : { operator: operator.get() };
      await sendCommand(name, { ...content, ...by });
      token.set(token.get());
      said.textContent = done;
      return;
    } catch (error) {
      if (error instanceof Unsendable) hint = t("token.wrong");
      else if (error instanceof Refused && error.status === 401) hint = t("token.wrong");
      else if (error instanceof Refused && error.status === 429) hint = t("token.wait");
      else {
        said.textContent = error instanceof Refused
          ? t("failed", { text: error.message }) : t("no.answer");
        return;
      }
      token.forget();
    }
  }
}
