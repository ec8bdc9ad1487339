// One function: how it does, on what it runs, what was measured of it, what was decided about it, and how to change it.

import { call, readOnce } from "./api.js";
import { changesView } from "./changes.js";
import { decisionItem } from "./decisions.js";
import { replicaTable } from "./devices.js";
import { attribute, h, keyed, text } from "./dom.js";
import { counted, exactPercent, memory, ms, rounded, times } from "./format.js";
import { isBroken, objective, wanted, WINDOWS } from "./functions.js";
import { hueOf, letterOf } from "./marks.js";
import { spark } from "./spark.js";
import { surfaceView } from "./surface.js";

const OWN_DECISIONS = 30;

export function functionPage(name, go) {
  const letter = h("span", { class: "letter", "aria-hidden": "true", "data-hue": hueOf(name) }, letterOf(name));
  const title = h("h1", { tabindex: "-1" }, letter, name);
  const note = h("p", { class: "note" });
  const reasons = h("ul", { class: "reason" });
  const figures = h("dl", { class: "panel figures" });
  const line = spark("spark timeline");
  const span = h("p", { class: "sub" });
  const replicas = replicaTable(true);
  const noReplicas = h("p", { class: "empty" }, "No replica now.");
  const decisions = h("ol", { class: "panel decisions", tabindex: "0", "aria-label": `Decisions about ${name}` });
  const [surface, changes, config] = [h("div"), h("div"), h("div")];
  const missing = h("p", { class: "panel empty", role: "status" });
  const section = (heading, ...content) => h("section", {}, h("h2", {}, heading), ...content);
  const body = h("div", { class: "columns" },
    h("div", { class: "stack" },
      section("Requests a second", h("div", { class: "panel form" }, line.root, span)),
      section("Replicas", h("div", { class: "panel scroll", tabindex: "0" }, replicas.root, noReplicas)),
      section("What its model does on a slice", surface)),
    h("div", { class: "stack" }, section("Change", changes), section("Decisions", decisions), section("Definition", config),
      section("Traces", h("p", {}, "Requests that missed the objective are kept: ", h("code", {}, `fastgshare trace --late ${name}`)))));
  const root = h("div", { class: "page" }, h("nav", { "aria-label": "Where you are" }, h("a", { href: "#/" }, "← All functions")),
    h("div", { class: "page-head" }, title, note), missing, reasons, figures, body);
  let gone = false;

  const load = readOnce(async () => {
    try {
      const read = await call("GET", `v1/functions/${encodeURIComponent(name)}`);
      changes.replaceChildren(changesView(name, read, showConfig, () => { gone = true; go("#/"); }));
      showConfig(read.spec);
    } catch (fault) {
      changes.replaceChildren(h("p", { class: "notice wrong" }, fault.message));
      throw fault;
    }
  });

  function showConfig(spec) {
    const held = spec.slice;
    const rows = [
      ["Model", `${spec.model.source || spec.model.format}, ${memory(spec.model.size_bytes / 1048576)}`], ["Digest", spec.model.digest.slice(0, 16)],
      ["Handler", spec.handler ? `${spec.handler.module}, ${spec.handler.class_name}` : "none"], ["Largest batch", spec.max_batch],
      ["Slice", `${held.sm_partition} % of the SMs, ${memory(held.gpu_mem_mib)}`],
      ["Scaling", spec.autoscale ? `${spec.autoscale.min} to ${spec.autoscale.max}, ${spec.autoscale.policy || "fixed"}` : counted(spec.replicas ?? 0, "replica")],
      ...Object.entries(spec.labels),
    ];
    config.replaceChildren(h("dl", { class: "panel plain" }, rows.flatMap(([label, value]) => [h("dt", {}, label), h("dd", {}, value)])),
      h("details", {}, h("summary", {}, "As JSON"), h("pre", { class: "text", tabindex: "0" }, JSON.stringify(spec, null, 2))));
  }

  async function loadSurface(fn) {
    try {
      const answer = await call("GET", `console/profiles/${encodeURIComponent(name)}`);
      surface.replaceChildren(surfaceView(answer.tables, fn.slo_ms));
    } catch (fault) {
      surface.replaceChildren(h("p", { class: "notice wrong" }, `The tables could not be read: ${fault.message}`));
      throw fault;
    }
  }

  let measured = null;
  let tables = () => {};
  function update(view) {
    const fn = view.functions.find((each) => each.function === name);
    missing.hidden = Boolean(fn);
    text(missing, fn || gone ? "" : `No function is called ${name}. It may have been deleted.`);
    for (const part of [figures, body]) part.hidden = !fn;
    reasons.hidden = !fn?.reasons.length;
    if (!fn) return;
    text(note, `${objective(fn)}; policy ${fn.policy}; generation ${fn.generation}${fn.serving && fn.serving !== fn.generation ? `, ${fn.serving} serves` : ""}`);
    keyed(reasons, fn.reasons, (reason) => reason, (reason) => ({ root: h("li", {}, reason), update() {} }));
    keyed(figures, figuresOf(fn), (figure) => figure.name, figureCell);
    line.update(fn.rate_spark, fn.missed_spark);
    text(span, `Last ${Math.max(0, fn.rate_spark.length * 2)} s; highest ${rounded(Math.max(0, ...fn.rate_spark))}. Red marks: shares that missed the objective.`);
    const own = view.devices.flatMap((device) => device.replicas).filter((replica) => replica.function === name);
    replicas.update(own);
    replicas.root.hidden = own.length === 0;
    noReplicas.hidden = own.length > 0;
    keyed(decisions, view.decisions.filter((decision) => decision.function === name).slice(0, OWN_DECISIONS), (decision) => `${decision.at_us} ${decision.kind} ${decision.text}`, decisionItem);
    decisions.hidden = decisions.childElementCount === 0;
    load();
    const about = JSON.stringify([fn.profiles, fn.slo_ms, fn.model_digest]);
    if (measured !== about && !surface.contains(document.activeElement)) {
      measured = about;
      tables = readOnce(() => loadSurface(fn));
    }
    tables();
  }
  return { root, update, title, name: `${name} – FaST-GShare` };
}

function figuresOf(fn) {
  return [
    ...WINDOWS.map((window) => ({ name: `Met, last ${window}`, value: exactPercent(fn.attainment[window]), broken: isBroken(fn, window), below: `burn ${times(fn.burn[window])}` })),
    { name: "Requests/s", value: rounded(fn.rate), below: `${rounded(fn.goodput)} within the objective` },
    { name: "p50", value: ms(fn.p50_ms), below: "last 10 s" },
    { name: "p99", value: ms(fn.p99_ms), below: `objective ${ms(fn.slo_ms)}` },
    { name: "Replicas ready", value: `${fn.ready} of ${wanted(fn)}`, broken: fn.ready < fn.wanted_min, below: `${fn.outstanding} requests in hand, ${fn.held} held` },
    { name: "Refused", value: rounded(Object.values(fn.refused).reduce((sum, count) => sum + count, 0)), below: Object.entries(fn.refused).map(([code, count]) => `${code.replaceAll("_", " ")} ${count}`).join(", ") || "none since the console looks" },
  ];
}

function figureCell() {
  const [name, value, below] = [h("dt"), h("span"), h("span", { class: "sub" })];
  const root = h("div", {}, name, h("dd", {}, value, below));
  function update(figure) {
    text(name, figure.name);
    text(value, figure.value);
    text(below, figure.below);
    attribute(value, "class", figure.broken ? "broken" : null);
  }
  return { root, update };
}
