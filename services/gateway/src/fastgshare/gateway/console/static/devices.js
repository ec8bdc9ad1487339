// Devices as pictures of who holds what: across, chunks of SMs; up, shares of their time.

import { attribute, h, keyed, text } from "./dom.js";
import { counted, memory, memoryOf, NONE, percent, ranges, rounded, since } from "./format.js";
import { hueOf, letterOf } from "./marks.js";
import { spark } from "./spark.js";

const MOST_RULES = 40;

export function devicesView() {
  const list = h("div", { class: "devices" });
  const note = h("p", { class: "note" });
  const empty = h("p", { class: "panel empty" }, "No node is heard. Start one: ", h("code", {}, "fastgshare up"), ", or a node manager on any host that reaches the bus.");
  const root = h("section", { id: "devices", "aria-labelledby": "devices-title" },
    h("div", { class: "section-head" }, h("h2", { id: "devices-title", tabindex: "-1" }, "Devices"), note), empty, list);
  function update(view) {
    empty.hidden = view.devices.length > 0;
    text(note, view.devices.length ? "Height: share of time promised, filled as far as it was used. ● runs a batch now, hatching is on loan to the profiler. Point at a rectangle, or use Tab and the arrow keys, for its numbers." : "");
    keyed(list, view.devices, (device) => device.device, deviceCard);
    for (const part of list.keyedParts.values()) part.age(view.at_us);
  }
  return { root, update };
}

function deviceCard() {
  const title = h("h3");
  const kind = h("span", { class: "kind" });
  const busy = h("span");
  const line = spark();
  const trouble = h("p", { class: "trouble" });
  const rules = h("div", { "aria-hidden": "true" });
  const pieces = h("div");
  const picture = h("div", { class: "picture", role: "group" }, rules, pieces);
  const [firstChunk, lastChunk] = [h("span"), h("span")];
  const readout = h("p", { class: "readout" });
  const meters = h("dl", { class: "meters" });
  const table = replicaTable();
  const summary = h("summary");
  const root = h("article", { class: "panel device" },
    h("div", { class: "device-head" }, title, kind, h("span", { class: "busy" }, line.root, " ", busy)),
    h("div", { class: "chart" },
      h("div", { class: "axis-y", "aria-hidden": "true" }, h("span", { class: "high" }, "100 %"), h("span", { class: "half" }, "50 %"), h("span", { class: "low" }, "0")),
      picture, h("div", { class: "axis-x", "aria-hidden": "true" }, firstChunk, lastChunk)),
    trouble, readout, meters, h("details", {}, summary, h("div", { class: "scroll", tabindex: "0" }, table.root)));
  let shown = null;
  let nowUs = 0;
  const chosen = arrows(pieces, (replica) => { shown = replica; tell(); });
  let device = null;

  function tell() {
    const replica = device.replicas.find((each) => each.replica === shown);
    readout.replaceChildren(...(replica ? [h("b", {}, replica.replica), ` ${sentence(replica, nowUs)}`] : [inShort(device)]));
  }

  function update(news) {
    device = news;
    text(title, device.device);
    text(kind, device.kind);
    text(busy, `${percent(device.busy)} busy`);
    line.update(device.busy_spark, [], 1);
    trouble.hidden = device.is_healthy;
    attribute(root, "data-ill", !device.is_healthy);
    text(trouble, device.is_healthy ? "" : `not healthy: ${device.reason || "no reason told"}`);
    attribute(picture, "aria-label", `${device.device}: ${counted(device.replicas.length, "replica")} on ${counted(device.chunks, "chunk")}, ${percent(device.promised)} promised, ${percent(device.busy)} busy`);
    text(firstChunk, "chunk 0");
    text(lastChunk, device.chunks > 1 ? `${device.chunks - 1}` : "");
    drawRules(rules, device.chunks);
    const strips = device.replicas.flatMap((replica) => replica.pieces.filter((piece) => piece.is_over));
    const parts = device.replicas.flatMap((replica) => replica.pieces.map((piece, index) => ({ replica, piece, index, chunks: device.chunks, covered: covered(piece, strips) })));
    keyed(pieces, parts, (part) => `${part.replica.replica}/${part.index}`, pieceLink);
    chosen.settle();
    keyed(meters, figures(device), (figure) => figure.name, meterRow);
    text(summary, `Replicas as a table (${device.replicas.length})`);
    table.update(device.replicas);
    tell();
  }
  return { root, update, age: (us) => { nowUs = us; } };
}

function pieceLink() {
  const used = h("span", { class: "used" });
  const name = h("span", { class: "name full" });
  const small = h("span", { class: "name letter-only" });
  const [had, promised, beyond] = [h("span"), h("span", { class: "if-wide" }), h("span", { class: "if-wider" })];
  const share = h("span", { class: "share" }, had, promised, beyond);
  const label = h("span", { class: "label" }, name, small, share);
  const root = h("a", { class: "piece", tabindex: "-1" }, used, label);
  function update({ replica, piece, chunks, covered: hidden }) {
    const place = root.style;
    place.left = `${(100 * piece.chunk) / chunks}%`;
    place.width = `calc(${(100 * piece.chunks) / chunks}% - 2px)`;
    place.bottom = `${100 * Math.min(piece.bottom, 1)}%`;
    place.height = `calc(${100 * Math.min(piece.height, 1)}% - 2px)`;
    const whole = piece.is_over ? 1 : piece.height;
    used.style.height = `${100 * Math.min(1, whole > 0 ? replica.had / whole : 0)}%`;
    label.style.top = hidden > 0 ? `${100 * hidden}%` : "";
    attribute(root, "data-hue", hueOf(replica.function));
    attribute(root, "data-replica", replica.replica);
    attribute(root, "data-running", replica.is_running);
    attribute(root, "data-loan", replica.is_loan);
    attribute(root, "data-over", piece.is_over);
    attribute(root, "data-off", replica.state !== "ready");
    attribute(root, "href", `#/functions/${encodeURIComponent(replica.function)}`);
    attribute(root, "aria-label", `${replica.replica}: ${sentence(replica)}`);
    text(name, `${letterOf(replica.function)} ${replica.function}${piece.is_over ? ", on loan" : ""}`);
    text(small, letterOf(replica.function));
    text(had, percent(replica.had));
    text(promised, replica.is_loan ? " on loan" : ` of ${percent(replica.quota_request)}`);
    text(beyond, spare(replica));
  }
  return { root, update };
}

// What share of a rectangle's head lies under a strip, whose words would be hidden there.
function covered(piece, strips) {
  const top = piece.bottom + piece.height;
  const over = piece.is_over ? [] : strips.filter((strip) => strip.bottom < top && strip.bottom + strip.height >= top - 1e-6
    && strip.chunk < piece.chunk + piece.chunks && piece.chunk < strip.chunk + strip.chunks);
  return Math.max(0, ...over.map((strip) => Math.min(1, (top - strip.bottom) / piece.height)));
}

function spare(replica) {
  const beyond = replica.is_loan ? 0 : replica.had - replica.quota_request;
  return beyond >= 0.005 ? ` (+${Math.round(beyond * 100)} spare)` : "";
}

function inShort(device) {
  const running = device.replicas.filter((replica) => replica.is_running).length;
  const waiting = device.replicas.reduce((sum, replica) => sum + replica.depth, 0);
  if (!device.replicas.length) return "No replica.";
  return `${counted(device.replicas.length, "replica")}, ${running} running now, ${counted(waiting, "request")} waiting.`;
}

function sentence(replica, nowUs) {
  const place = `chunk${replica.chunks.length === 1 ? "" : "s"} ${ranges(replica.chunks)}`;
  const promise = replica.is_loan
    ? `on loan to the profiler, up to ${percent(replica.quota_limit)} of spare time`
    : `promised ${percent(replica.quota_request)} of the time, at most ${percent(replica.quota_limit)}`;
  const run = replica.is_running ? "runs a batch now" : replica.state;
  const age = nowUs && replica.since_us ? ` for ${since(replica.since_us, nowUs)}` : "";
  const why = replica.reason ? `; ${replica.reason}` : "";
  return `${run}${replica.is_running ? "" : age}; ${place}; ${promise}, had ${percent(replica.had)}; ${replica.depth} waiting; ${memory(replica.memory_mib + replica.weights_mib)}${why}`;
}

function drawRules(rules, chunks) {
  if (rules.dataset.chunks === String(chunks)) return;
  rules.dataset.chunks = String(chunks);
  rules.replaceChildren(h("span", { class: "rule across" }));
  for (let at = 1; chunks <= MOST_RULES && at < chunks; at++) {
    const rule = h("span", { class: "rule down" });
    rule.style.left = `${(100 * at) / chunks}%`;
    rules.append(rule);
  }
}

function figures(device) {
  const known = device.memory_mib > 0;
  return [
    { name: "Promised", value: percent(device.promised), share: device.promised },
    { name: "Memory", value: known ? memoryOf(device.used_mib, device.memory_mib) : NONE, share: known ? device.used_mib / device.memory_mib : 0 },
    ...Object.entries(device.gauges).map(([name, value]) => (gauge(name, value))),
  ];
}

function gauge(name, value) {
  const isPercent = name.endsWith("_percent");
  const words = name.replace(/_percent$/, "").replaceAll("_", " ").replace(/^sm /, "SM ");
  return { name: words, value: isPercent ? `${rounded(value)} %` : rounded(value), share: null };
}

function meterRow() {
  const [name, value, bar] = [h("dt"), h("span"), h("span")];
  const track = h("span", { class: "meter", "aria-hidden": "true" }, bar);
  const root = h("div", {}, name, h("dd", {}, value, track));
  function update(figure) {
    text(name, figure.name);
    text(value, figure.value);
    track.hidden = figure.share === null;
    bar.style.width = `${100 * Math.min(1, figure.share ?? 0)}%`;
  }
  return { root, update };
}

// One stop for Tab, arrow keys inside; `choose` is told which replica is pointed at or focused, and null for none.
function arrows(pieces, choose) {
  const all = () => [...pieces.querySelectorAll(".piece")];
  const of = (target) => target.closest?.(".piece")?.dataset.replica ?? null;
  const mark = (replica) => {
    for (const piece of all()) attribute(piece, "data-chosen", replica !== null && piece.dataset.replica === replica);
    choose(replica);
  };
  pieces.addEventListener("pointerover", (event) => mark(of(event.target)));
  pieces.addEventListener("pointerleave", () => mark(of(document.activeElement)));
  pieces.addEventListener("focusin", (event) => {
    for (const piece of all()) piece.tabIndex = piece === event.target ? 0 : -1;
    mark(of(event.target));
  });
  pieces.addEventListener("focusout", () => mark(null));
  pieces.addEventListener("keydown", (event) => {
    const found = all();
    const at = found.indexOf(event.target);
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const next = step ? found[(at + step + found.length) % found.length] : { Home: found[0], End: found.at(-1) }[event.key];
    if (!next || at < 0) return;
    event.preventDefault();
    next.focus();
  });
  return {
    settle() {
      const found = all();
      if (found.length && !found.some((piece) => piece.tabIndex === 0)) found[0].tabIndex = 0;
    },
  };
}

export const REPLICA_COLUMNS = ["Replica", "State", "Chunks", "Time promised", "Had", "Waiting", "Memory", "Restarts"];

export function replicaTable(withDevice = false) {
  const body = h("tbody");
  const heads = withDevice ? [REPLICA_COLUMNS[0], "Device", ...REPLICA_COLUMNS.slice(1)] : REPLICA_COLUMNS;
  const root = h("table", { class: "replicas" }, h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))), body);
  return { root, update: (replicas) => keyed(body, replicas, (replica) => replica.replica, () => replicaRow(withDevice)) };
}

function replicaRow(withDevice) {
  const cells = Array.from({ length: withDevice ? 8 : 7 }, () => h("td"));
  const name = h("th", { scope: "row", class: "mono" });
  const root = h("tr", {}, name, cells);
  function update(replica) {
    text(name, replica.replica);
    const state = replica.is_running ? "● running" : replica.is_loan ? `${replica.state}, on loan` : replica.state;
    const values = [
      ...(withDevice ? [replica.device] : []), replica.reason ? `${state}: ${replica.reason}` : state, ranges(replica.chunks),
      replica.is_loan ? `up to ${percent(replica.quota_limit)}` : `${percent(replica.quota_request)} to ${percent(replica.quota_limit)}`, percent(replica.had), replica.depth,
      memory(replica.memory_mib + replica.weights_mib), replica.restarts,
    ];
    cells.forEach((cell, index) => text(cell, values[index]));
  }
  return { root, update };
}
