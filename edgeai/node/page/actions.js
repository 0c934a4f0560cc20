// The commands of a machine: acknowledge an alarm, inject a fault. They need the token.

import { Refused, sendCommand, token, Unsendable } from "./api.js";
import { h, redraw, setText } from "./dom.js";
import { t, word } from "./texts.js";

/** Draw the buttons that make sense now. */
export function drawActions(element, machine, commands, faults) {
  const latched = commands.includes("acknowledge")
    ? machine.parts.filter((part) => part.state === "latched").map((part) => part.pipeline.name) : [];
  const willLatch = !latched.length && commands.includes("acknowledge") &&
    machine.parts.some((part) => part.state === "active" && part.pipeline.latch);
  const names = commands.includes("inject") ? Object.keys(faults) : [];
  const record = { latched, willLatch, names, words: t("inject") };
  element.said ??= h("p", { class: "said", role: "status", tabIndex: -1 });
  element.forget ??= h("button", { type: "button", class: "forget", onclick: () => {
    token.forget();
    element.forget.hidden = true;
  } });
  const hadFocus = element.contains(document.activeElement);
  redraw(element, record, () => [
    latched.map((pipeline) =>
      h("button", { type: "button", class: "primary acknowledge",
        onclick: () => run(element.said, "acknowledge",
          { pipeline, asset: machine.name }, t("acknowledged")) },
      latched.length > 1 ? `${t("acknowledge")}: ${pipeline}` : t("acknowledge"))),
    willLatch ? h("p", { class: "quiet" }, t("ack.active")) : null,
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
  ].flat());
  // The button that had the focus may be gone: what it did is told here.
  if (hadFocus && !element.contains(document.activeElement)) element.said.focus();
  setText(element.forget, token.get() && (latched.length || names.length) ? t("token.forget") : "");
  element.hidden = !latched.length && !willLatch && !names.length && !element.said.textContent;
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
      await sendCommand(name, content);
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

/** Ask for the token in a dialog; return whether it was given. */
function askForToken(hint) {
  const dialog = document.getElementById("token");
  return new Promise((resolve) => {
    const input = h("input", { type: "password", name: "token", autocomplete: "off",
      required: true, spellcheck: false, id: "token-input" });
    // The event `close` of the question before may come only now: then the dialog is open again.
    const closed = () => dialog.open || close(false);
    const close = (given) => {
      if (given) token.set(input.value.trim());
      dialog.removeEventListener("close", closed);
      if (dialog.open) dialog.close();
      resolve(given);
    };
    const form = h("form", { method: "dialog", onsubmit: (event) => {
      event.preventDefault();
      if (input.value.trim()) close(true);
    } },
    h("h2", { id: "token-title" }, t("token.title")),
    h("p", {}, t("token.text")),
    document.body.hasAttribute("data-simulated") ? h("p", {}, t("token.demo")) : null,
    h("label", { for: "token-input" }, t("token.field")), input,
    hint ? h("p", { class: "warning", role: "alert" }, hint) : null,
    h("div", { class: "buttons" },
      h("button", { type: "submit", class: "primary" }, t("token.send")),
      h("button", { type: "button", onclick: () => close(false) }, t("token.cancel"))));
    dialog.replaceChildren(form);
    dialog.addEventListener("close", closed);
    dialog.showModal();
    input.focus();
  });
}
