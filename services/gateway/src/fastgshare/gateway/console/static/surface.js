// What was measured of a function's model: a table that is also its picture, one cell for each slice.

import { attribute, h } from "./dom.js";
import { clock, ms, NONE, rounded } from "./format.js";

const QUANTITIES = {
  rps: { label: "Throughput, inputs/s", of: (point) => point.rps, error: (point) => point.rps_error, more: true },
  rpr: { label: "Throughput per resource", of: (point) => (point.rps * 100) / (point.sm * point.quota), error: (point) => point.rps_error, more: true },
  p99: { label: "p99 latency, ms", of: (point) => point.p99_ms, error: (point) => point.latency_error, more: false },
  p50: { label: "p50 latency, ms", of: (point) => point.p50_ms, error: (point) => point.latency_error, more: false },
  device: { label: "Device time of a batch, ms", of: (point) => point.device_ms, error: (point) => point.rps_error, more: false },
};

export function surfaceView(tables, sloMs) {
  if (!tables.length) return h("p", { class: "panel empty" }, "Nothing was measured yet. The profiler does it in spare time, or at once: ", h("code", {}, "fastgshare profile NAME"));
  const kind = h("select", { onchange: draw }, tables.map((table, at) => h("option", { value: at }, table.device_kind)));
  const quantity = h("select", { onchange: draw }, Object.entries(QUANTITIES).map(([id, each]) => h("option", { value: id }, each.label)));
  const batch = h("select", { onchange: draw });
  const place = h("div", { class: "panel scroll", tabindex: "0" });
  const about = h("p", { class: "legend" });
  const field = (label, control) => h("label", { class: "field" }, h("span", {}, label), control);
  let shownKind = null;

  function draw() {
    const table = tables[kind.value];
    const batches = [...new Set(table.points.map((point) => point.batch))];
    if (shownKind !== kind.value) {
      shownKind = kind.value;
      batch.replaceChildren(...batches.map((size) => h("option", { value: size }, size)));
      if (batches.length) batch.value = bestBatch(table.points, sloMs);
    }
    place.replaceChildren(batches.length ? heat(table.points.filter((point) => point.batch === Number(batch.value)), QUANTITIES[quantity.value], sloMs) : h("p", { class: "empty" }, "No point was measured yet."));
    about.replaceChildren(...legend(table, sloMs).map((line) => h("span", {}, line)));
  }
  draw();
  return h("div", {}, h("div", { class: "heat-tools" }, field("Device", kind), field("Shows", quantity), field("Batch", batch)), place, about);
}

const misses = (point, sloMs) => point.p99_ms !== null && point.p99_ms > sloMs;

function bestBatch(points, sloMs) {
  const fit = points.filter((point) => !misses(point, sloMs));
  return (fit.length ? fit : points).reduce((best, point) => (point.rps > best.rps ? point : best)).batch;
}

function legend(table, sloMs) {
  const state = table.state === "complete" ? "complete" : table.reason ? `${table.state}: ${table.reason}` : table.state;
  const when = table.measured_at_us ? `, last at ${clock(table.measured_at_us)}` : "";
  return [`${state}: ${table.measured_points} points measured${when}${table.source ? `, from ${table.source}` : ""}`, "bold: measured", "~ interpolated", "! plain ground: p99 misses the objective", table.points.some((point) => point.p99_ms !== null && !misses(point, sloMs)) ? "outlined: the best that meets it" : table.state === "complete" ? "no slice meets the objective" : "no slice measured so far meets the objective"];
}

function heat(points, quantity, sloMs) {
  const sms = [...new Set(points.map((point) => point.sm))];
  const quotas = [...new Set(points.map((point) => point.quota))];
  const values = points.filter((point) => !misses(point, sloMs)).map(quantity.of).filter((value) => value !== null && Number.isFinite(value));
  const meeting = points.filter((point) => !misses(point, sloMs) && quantity.of(point) !== null);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const best = meeting.length ? meeting.reduce((a, b) => ((quantity.of(b) > quantity.of(a)) === quantity.more && quantity.of(a) !== quantity.of(b) ? b : a)) : null;
  const warmth = (value) => (high > low ? (quantity.more ? value - low : high - value) / (high - low) : 0.5);
  return h("table", { class: "heat" },
    h("caption", {}, `${quantity.label}, by percent of the SMs (down) and share of time (across)`),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "SMs \\ time"), quotas.map((quota) => h("th", { scope: "col" }, `${Math.round(quota * 100)} %`)))),
    h("tbody", {}, sms.map((sm) => h("tr", {}, h("th", { scope: "row" }, `${sm} %`),
      quotas.map((quota) => cell(points.find((point) => point.sm === sm && point.quota === quota)))))));

  function cell(point) {
    const value = point ? quantity.of(point) : null;
    if (value === null || value === undefined) return h("td", {}, NONE);
    const late = misses(point, sloMs);
    const error = quantity.error(point);
    const words = [point.measured ? "measured" : "interpolated", error ? `true within ${Math.round(error * 100)} %` : "", late ? `p99 ${ms(point.p99_ms)} misses the objective` : "", point === best ? "the best that meets the objective" : ""].filter(Boolean).join(", ");
    const found = h("td", { title: words, class: point === best ? "best" : null }, point.measured ? "" : "~", rounded(value), late ? " !" : "", h("span", { class: "unseen" }, `, ${words}`));
    attribute(found, "data-measured", point.measured);
    attribute(found, "data-misses", late);
    if (!late) found.style.setProperty("--warmth", warmth(value).toFixed(3));
    return found;
  }
}
