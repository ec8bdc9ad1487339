// Deploying: a model and a definition, as a form or as text; the files go first, then the definition that names them.

import { call, callJson, Refused } from "./api.js";
import { zip } from "./archive.js";
import { h, labelled } from "./dom.js";
import { notice } from "./notice.js";

const FORMATS = { ".onnx": "onnx", ".sim.json": "sim", ".pt2": "torch_export" };
const UPLOAD_MS = 600000;
const EXAMPLE = "name: resnet50\nmodel: {file: resnet50.onnx}\nslo_ms: 200\nmax_batch: 4\nautoscale: {min: 1, max: 4, policy: objective}\n";
const number = (value, attributes) => h("input", { type: "number", value, step: "any", required: true, ...attributes });

export function deployPage(go) {
  const title = h("h1", { tabindex: "-1" }, "Deploy a function");
  const said = notice();
  const model = h("input", { type: "file", id: "model-file", required: true });
  const code = h("input", { type: "file", id: "handler-files", multiple: true, accept: ".py,.txt,.json" });
  const className = h("input", { type: "text", id: "handler-class", value: "Handler" });
  const fields = formFields();
  const textArea = h("textarea", { id: "definition-text", spellcheck: "false", placeholder: EXAMPLE });
  const asText = labelled("Definition", textArea, "YAML or JSON as for fastgshare deploy. Files it names are those chosen above.");
  asText.classList.add("wide");
  asText.hidden = true;
  const choose = (value, label, checked) => h("label", {}, h("input", { type: "radio", name: "way", value, checked, onchange: () => switchTo(value) }), label);
  const send = h("button", { class: "primary" }, "Deploy");
  const form = h("form", { class: "panel form", onsubmit: submit },
    h("fieldset", {}, h("legend", {}, "Files"), h("div", { class: "fields" },
      labelled("Model", model, ".onnx, .sim.json or .pt2"), labelled("Handler, if it has one", code, "Python; the first file holds the class"), labelled("Handler's class", className))),
    h("fieldset", {}, h("legend", {}, "Definition"), h("div", { class: "choices" }, choose("form", "Form", true), choose("text", "YAML or JSON", false))),
    fields.root, asText, h("div", {}, send), said.root);
  const root = h("div", { class: "page slim" }, h("nav", { "aria-label": "Where you are" }, h("a", { href: "#/" }, "← All functions")), h("div", { class: "page-head" }, title), form);
  let way = "form";

  function switchTo(chosen) {
    way = chosen;
    fields.root.hidden = fields.root.disabled = chosen !== "form";
    asText.hidden = chosen !== "text";
  }

  model.addEventListener("change", () => fields.suggest(model.files[0]?.name ?? ""));

  async function submit(event) {
    event.preventDefault();
    send.disabled = true;
    try {
      const definition = way === "form" ? fields.read() : await fromText(textArea.value);
      const spec = await withFiles(definition);
      said.doing("writing the definition");
      await callJson("PUT", `v1/functions/${encodeURIComponent(spec.name)}`, spec);
      go(`#/functions/${encodeURIComponent(spec.name)}`);
    } catch (fault) {
      said.wrong(fault);
    } finally {
      send.disabled = false;
    }
  }

  async function withFiles(definition) {
    const file = model.files[0];
    const told = definition.model ?? {};
    if (told.file && told.file.split("/").at(-1) !== file.name) throw new Refused(`the definition names ${told.file}, but ${file.name} was chosen`);
    const format = told.format ?? formatOf(file.name);
    if (!format) throw new Refused(`the format of ${file.name} is not known, expected a name ending in ${Object.keys(FORMATS).join(", ")}; torch models with code are deployed by the command`);
    const { handler, sample, ...rest } = definition;
    if (sample !== undefined) throw new Refused("samples are deployed by the command alone: leave sample out");
    const spec = { ...rest, model: { ...(await store(file, file.name)), format, source: file.name } };
    if (spec.replicas === undefined && spec.autoscale === undefined) spec.replicas = 1;
    if (spec.autoscale && spec.replicas === undefined) spec.replicas = null;
    if (spec.autoscale && !spec.autoscale.policy && !spec.slice) spec.autoscale = { ...spec.autoscale, policy: "objective" };
    if (code.files.length) spec.handler = await handlerOf(handler);
    else if (handler) throw new Refused(`the definition has a handler, ${handler.file}: choose its file`);
    return spec;
  }

  async function handlerOf(told) {
    const files = [...code.files];
    const main = told?.file ? files.find((file) => file.name === told.file.split("/").at(-1)) : files[0];
    if (!main) throw new Refused(`the definition names ${told.file}, which is not among the chosen files`);
    const stored = await store(await zip(files), "the handler");
    return { digest: stored.digest, module: main.name, class_name: told?.class ?? className.value, ...(told?.memory_limit_mib ? { memory_limit_mib: told.memory_limit_mib } : {}) };
  }

  async function store(content, what) {
    said.doing(`uploading ${what}`);
    return call("PUT", "v1/models", { body: content, type: "application/octet-stream", limitMs: UPLOAD_MS });
  }
  return { root, update() {}, title, name: "Deploy – FaST-GShare" };
}

async function fromText(written) {
  if (!written.trim()) throw new Refused("the definition is empty");
  const { definition } = await call("POST", "console/definition", { body: written, type: "text/plain" });
  if (typeof definition !== "object" || definition === null || Array.isArray(definition)) throw new Refused("the definition is no mapping of keys to values");
  if (typeof definition.name !== "string") throw new Refused("the definition has no name");
  return definition;
}

const formatOf = (name) => Object.entries(FORMATS).find(([suffix]) => name.endsWith(suffix))?.[1];

function formFields() {
  const name = h("input", { type: "text", id: "name", required: true, pattern: "[a-z0-9][a-z0-9_\\-]*", title: "lower-case letters, digits, - and _" });
  const slo = number(200, { min: "0.1" });
  const percentile = number(99, { min: "1", max: "100" });
  const batch = number(8, { min: "1", max: "1024", step: "1" });
  const [least, most] = [number(1, { min: "0", step: "1" }), number(2, { min: "1", step: "1" })];
  const policy = h("select", { onchange: follow }, [["objective", "what the objective needs"], ["fixed", "the slice below, by load"], ["", "a fixed number"]].map(([value, label]) => h("option", { value }, label)));
  const sm = number(50, { min: "1", max: "100", step: "1" });
  const [request, limit] = [number(50, { min: "1", max: "100" }), number(100, { min: "1", max: "100" })];
  const memory = number(256, { min: "1", step: "1" });
  const count = number(1, { min: "0", step: "1" });
  const [leastField, mostField, countField] = [labelled("At least", least), labelled("At most", most), labelled("Replicas", count)];
  const slice = h("fieldset", {}, h("legend", {}, "Slice of a replica"), h("div", { class: "fields" }, labelled("SMs, %", sm), labelled("Promised time, %", request), labelled("Time at most, %", limit), labelled("Memory, MiB", memory)));
  function follow() {
    leastField.hidden = mostField.hidden = policy.value === "";
    countField.hidden = policy.value !== "";
    slice.hidden = slice.disabled = policy.value === "objective";
  }
  const root = h("fieldset", { class: "form-fields" }, h("div", { class: "stack" },
    h("div", { class: "fields" }, labelled("Name", name), labelled("Objective, ms", slo, "from arrival to answer"), labelled("Percentile", percentile), labelled("Largest batch", batch)),
    h("fieldset", {}, h("legend", {}, "Replicas"), h("div", { class: "fields" }, labelled("How many", policy), leastField, mostField, countField)), slice));
  follow();

  function read() {
    const found = { name: name.value, slo_ms: Number(slo.value), slo_percentile: Number(percentile.value), max_batch: Number(batch.value) };
    if (policy.value === "") found.replicas = Number(count.value);
    else found.autoscale = { min: Number(least.value), max: Number(most.value), policy: policy.value };
    if (policy.value !== "objective") found.slice = { sm_partition: Number(sm.value), quota_request: request.value / 100, quota_limit: limit.value / 100, gpu_mem_mib: Number(memory.value) };
    return found;
  }
  const suggest = (file) => { if (!name.value) name.value = file.replace(/(\.sim\.json|\.\w+)$/, "").toLowerCase().replaceAll(/[^a-z0-9_-]/g, "-"); };
  return { root, read, suggest };
}
