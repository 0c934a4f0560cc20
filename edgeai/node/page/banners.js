// What concerns the whole page: no answer, no broker, a fault of the node, a simulated line.

import { h, redraw } from "./dom.js";
import { capital } from "./machines.js";
import { duration, t } from "./texts.js";

/** Draw the banners that are needed. */
export function drawBanners(element, state, { isLost, lostSeconds, denied }) {
  const banners = [];
  if (denied) banners.push(["lost", t("denied"), t("denied.text")]);
  else if (isLost) banners.push(["lost", t("lost", { duration: duration(lostSeconds) }), t("lost.text")]);
  else if (state && !state.broker.connected)
    banners.push(["broker", t("broker.lost"), brokerText(state)]);
  else if (state?.broker.fault) banners.push(["broker", t("fault"), state.broker.fault]);
  if (state?.commands.includes("inject"))
    banners.push(["simulated", t("simulated"), t("simulated.text")]);
  redraw(element, banners, (all) =>
    all.map(([kind, title, text]) =>
      h("p", { class: `banner ${kind}`, role: kind === "simulated" ? null : "alert" },
        h("strong", {}, title), " ", h("span", {}, text))));
}

/** Return why the broker is not connected, and how many machines are silent because of it. */
function brokerText(state) {
  const fault = capital(state.broker.fault ?? t("not.connected", state.broker));
  const n = state.pipelines.reduce((sum, one) => sum + (one.stale ?? 0), 0);
  return n ? `${t("broker.text", { fault })} ${t("broker.followers", { n })}` : t("broker.text", { fault });
}
