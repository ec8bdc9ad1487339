// What can be changed of a function that runs: how many replicas, their share of time, its objective, its end.

import { call, callJson, tagOf } from "./api.js";
import { confirmed } from "./dialogs.js";
import { h, labelled } from "./dom.js";
import { notice } from "./notice.js";

const percentInput = () => h("input", { type: "number", min: "1", max: "100", step: "any", required: true });
const percent = (share) => Math.round(share * 1000) / 10;

// `read` is the gateway's answer about the function; a change is made to what was read, and to nothing else. `changed(spec)`
// is called with what stands after a change, `gone()` after the function was deleted.
export function changesView(name, read, changed, gone) {
  const said = notice();
  let { spec } = read;
  let tag = tagOf(read);
  const path = `v1/functions/${encodeURIComponent(name)}`;

  async function act(doing, action) {
    said.doing(doing);
    try {
      const answer = await action();
      stands(answer);
      said.done(`done: generation ${answer.generation}`);
    } catch (fault) {
      said.wrong(fault);
      if (fault.status === 409) await lookAgain();
    }
  }

  function stands(answer) {
    spec = answer.spec;
    tag = tagOf(answer);
    changed(spec);
  }

  async function lookAgain() {
    try {
      stands(await call("GET", path));
      fill();
      said.wrong(new Error(`Somebody else changed ${name} meanwhile. The fields show what stands now: look, and change it again.`));
    } catch { /* the first words hold */ }
  }

  const change = (doing, alter) => act(doing, () => callJson("PUT", path, alter(spec), tag));

  const submits = (action) => (event) => { event.preventDefault(); action(); };
  const count = h("input", { type: "number", min: "0", max: "1000", required: true });
  const scale = async () => {
    const auto = spec.autoscale ? "It is scaled automatically now; a fixed number ends that. " : "";
    if (auto || count.value === "0") {
      const words = `${auto}${count.value === "0" ? "With no replica nothing answers its requests." : ""}`;
      if (!(await confirmed(`Scale ${name} to ${count.value}?`, words, "Scale"))) return;
    }
    await act(`scaling to ${count.value}`, () => callJson("POST", `${path}/scale`, { replicas: Number(count.value) }));
  };
  const [request, limit] = [percentInput(), percentInput()];
  const quotas = () => change("changing quotas", (old) => ({ ...old, slice: { ...old.slice, quota_request: request.value / 100, quota_limit: limit.value / 100 } }));
  const slo = h("input", { type: "number", min: "0.1", step: "any", required: true });
  const retarget = () => change("changing the objective: a new generation", (old) => ({ ...old, slo_ms: Number(slo.value) }));
  function fill() {
    count.value = spec.replicas ?? spec.autoscale.min;
    request.value = percent(spec.slice.quota_request);
    limit.value = percent(spec.slice.quota_limit);
    slo.value = spec.slo_ms;
  }
  fill();
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
