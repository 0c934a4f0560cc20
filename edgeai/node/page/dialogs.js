// Questions of the page: the token of commands, and for how long to shelve an alarm.

import { operator, token } from "./api.js";
import { h } from "./dom.js";
import { duration, t } from "./texts.js";

const MAX_NAME = 64;
const MAX_REASON = 200;
const SHELVE_SECONDS = [15 * 60, 3600, 4 * 3600, 8 * 3600];

/**
 * Ask a question in a dialog; resolve to whether it was answered.
 *
 * `take` gets the form when it is sent, and returns false if it must be filled in better.
 */
function ask(id, fields, submit, take) {
  const dialog = document.getElementById(id);
  return new Promise((resolve) => {
    // The event `close` of the question before may come only now: then the dialog is open again.
    const closed = () => dialog.open || close(false);
    const close = (given) => {
      dialog.removeEventListener("close", closed);
      if (dialog.open) dialog.close();
      resolve(given);
    };
    const form = h("form", { method: "dialog", onsubmit: (event) => {
      event.preventDefault();
      if (take() !== false) close(true);
    } }, ...fields,
    h("div", { class: "buttons" },
      h("button", { type: "submit", class: "primary" }, submit),
      h("button", { type: "button", onclick: () => close(false) }, t("token.cancel"))));
    dialog.replaceChildren(form);
    dialog.addEventListener("close", closed);
    dialog.showModal();
    form.querySelector("input, select").focus();
  });
}

/** Ask for the token, and who it is; return whether it was given. */
export function askForToken(hint) {
  const input = h("input", { type: "password", name: "token", autocomplete: "off",
    required: true, spellcheck: false, id: "token-input" });
  const name = h("input", { type: "text", name: "operator", autocomplete: "off", maxLength: MAX_NAME,
    spellcheck: false, id: "operator-input", value: operator.get() });
  return ask("token", [
    h("h2", { id: "token-title" }, t("token.title")),
    h("p", {}, t("token.text")),
    document.body.hasAttribute("data-simulated") ? h("p", {}, t("token.demo")) : null,
    h("label", { for: "token-input" }, t("token.field")), input,
    h("label", { for: "operator-input" }, t("operator.field")), name,
    hint ? h("p", { class: "warning", role: "alert" }, hint) : null,
  ], t("token.send"), () => {
    if (!input.value.trim()) return false;
    token.set(input.value.trim());
    operator.set(name.value.trim());
    return true;
  });
}

/** Ask for how long to shelve an alarm, and why; resolve to that, or null. */
export async function askToShelve(pipeline) {
  const most = pipeline.shelve_max_seconds;
  const offered = [...SHELVE_SECONDS.filter((seconds) => seconds < most), most];
  const seconds = h("select", { id: "shelve-seconds", name: "seconds" },
    offered.map((one) => h("option", { value: String(one) }, duration(one))));
  const reason = h("input", { type: "text", name: "reason", autocomplete: "off",
    maxLength: MAX_REASON, id: "shelve-reason" });
  const given = await ask("shelve", [
    h("h2", { id: "shelve-title" }, t("shelve")),
    h("p", {}, t("shelve.text")),
    h("label", { for: "shelve-seconds" }, t("shelve.seconds")), seconds,
    h("label", { for: "shelve-reason" }, t("shelve.reason")), reason,
  ], t("shelve"), () => true);
  return given ? { seconds: Number(seconds.value), reason: reason.value.trim() } : null;
}
