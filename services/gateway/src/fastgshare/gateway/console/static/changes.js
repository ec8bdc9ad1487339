// What can be changed of a function that runs: how many replicas, their share of time, its objective, its end.

import { call, callJson } from "./api.js";
import { confirmed } from "./dialogs.js";
import { h, labelled } from "./dom.js";
import { notice } from "./notice.js";

const percentInput = (share) => h("input", { type: "number", min: "1", max: "100", step: "any", required: true, value: Math.round(share * 1000) / 10 });

// `changed(spec)` is called with what stands after a change, `gone()` after the function was deleted.
export function changesView(name, spec, changed, gone) {
  const said = notice();
  const path = `v1/functions/${encodeURIComponent(name)}`;

  async function act(doing, action) {
    said.doing(doing);
    try {
      const answer = await action();
      if (answer?.spec) changed(answer.spec);
      said.done(answer?.told ?? `done: generation ${answer.generation}`);
    } catch (fault) {
      said.wrong(fault);
    }
  }

  async function change(doing, alter) {
    await act(doing, async () => callJson("PUT", path, alter((await call("GET", path)).spec)));
  }

  const submits = (action) => (event) => { event.preventDefault(); action(); };
  const count = h("input", { type: "number", min: "0", max: "1000", required: true, value: spec.replicas ?? spec.autoscale.min });
  const scale = async () => {
    const auto = spec.autoscale ? "It is scaled automatically now; a fixed number ends that. " : "";
    if (auto || count.value === "0") {
      const words = `${auto}${count.value === "0" ? "With no replica nothing answers its requests." : ""}`;
      if (!(await confirmed(`Scale ${name} to ${count.value}?`, words, "Scale"))) return;
    }
    await act(`scaling to ${count.value}`, () => callJson("POST", `${path}/scale`, { replicas: Number(count.value) }));
  };
  const held = spec.slice;
  const [request, limit] = [percentInput(held.quota_request), percentInput(held.quota_limit)];
  const quotas = () => change("changing quotas", (stands) => ({ ...stands, slice: { ...stands.slice, quota_request: request.value / 100, quota_limit: limit.value / 100 } }));
  const slo = h("input", { type: "number", min: "0.1", step: "any", required: true, value: spec.slo_ms });
  const retarget = () => change("changing the objective: a new generation", (stands) => ({ ...stands, slo_ms: Number(slo.value) }));
  const remove = async () => {
    if (!(await confirmed(`Delete ${name}?`, "Its replicas stop and its requests are refused from then on. What was measured of its model is kept.", "Delete", true))) return;
    said.doing("deleting");
    try {
      await call("DELETE", path);
      gone();
    } catch (fault) {
      said.wrong(fault);
    }
  };
  const chosen = spec.autoscale?.policy && spec.autoscale.policy !== "fixed";
  return h("div", { class: "panel form" },
    h("form", { class: "row", onsubmit: submits(scale) }, labelled("Replicas", count), h("button", {}, "Scale")),
    h("form", { class: "row", onsubmit: submits(quotas) }, labelled("Promised, % of time", request), labelled("At most, % of time", limit), h("button", {}, "Change quotas")),
    chosen ? h("p", { class: "sub" }, `Policy ${spec.autoscale.policy} chooses what replicas are promised; the limit holds.`) : null,
    h("form", { class: "row", onsubmit: submits(retarget) }, labelled("Objective, ms", slo), h("button", {}, "Change objective")),
    h("div", { class: "row" }, h("button", { type: "button", class: "danger", onclick: remove }, "Delete…")), said.root);
}
