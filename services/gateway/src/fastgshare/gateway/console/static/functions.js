// The functions' table: what each promises, how it keeps it, what it does now. Sorted and filtered as the reader likes.

import { attribute, h, keyed, text } from "./dom.js";
import { counted, exactPercent, ms, NONE, rounded, times } from "./format.js";
import { hueOf, letterOf } from "./marks.js";
import { spark } from "./spark.js";

export const WINDOWS = ["1m", "10m", "1h"];
export const objective = (fn) => `p${rounded(fn.slo_percentile, 4)} within ${ms(fn.slo_ms)}`;
export const isBroken = (fn, window) => typeof fn.attainment[window] === "number" && fn.attainment[window] * 100 < fn.slo_percentile;
export const wanted = (fn) => (fn.wanted_min === fn.wanted_max ? `${fn.wanted_max}` : `${fn.wanted_min} to ${fn.wanted_max}`);
const refusedOf = (fn) => Object.values(fn.refused).reduce((sum, count) => sum + count, 0);
const last = (value) => (value === null || value === undefined ? -Infinity : value);

const COLUMNS = [
  { id: "function", label: "Function", key: (fn) => fn.function },
  { id: "objective", label: "Objective", key: (fn) => fn.slo_ms },
  ...WINDOWS.map((window) => ({ id: window, label: `Met, ${window}`, number: true, key: (fn) => last(fn.attainment[window]) })),
  { id: "burn", label: "Burn, 10m", number: true, key: (fn) => last(fn.burn["10m"]) },
  { id: "rate", label: "Requests/s", number: true, key: (fn) => fn.rate },
  { id: "p50", label: "p50", number: true, key: (fn) => last(fn.p50_ms) },
  { id: "p99", label: "p99", number: true, key: (fn) => last(fn.p99_ms) },
  { id: "replicas", label: "Ready", number: true, key: (fn) => fn.ready },
  { id: "waiting", label: "In hand", number: true, key: (fn) => fn.outstanding + fn.held },
  { id: "refused", label: "Refused", number: true, key: refusedOf },
];

export function functionsView() {
  let sorted = { id: "function", down: false };
  let view = null;
  const body = h("tbody", { role: "rowgroup" });
  const filter = h("input", { type: "search", id: "function-filter", placeholder: "name", oninput: () => draw() });
  const heads = COLUMNS.map(headCell);
  const table = h("table", { class: "stacked functions", role: "table", "aria-labelledby": "functions-title" },
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, heads.map((head) => head.root))), body);
  const empty = h("p", { class: "empty" });
  const order = h("select", { id: "function-sort", "aria-label": "Sort functions by", onchange: () => sortBy(order.value) },
    COLUMNS.map((column) => h("option", { value: column.id }, `by ${column.label}`)));
  const root = h("section", { id: "functions", "aria-labelledby": "functions-title" },
    h("div", { class: "section-head" }, h("h2", { id: "functions-title", tabindex: "-1" }, "Functions"),
      h("p", { class: "note" }, "Met: share of requests within the objective. Burn: how fast the allowance for misses is spent; above 1× it does not last."),
      h("div", { class: "filters" }, h("span", { class: "filter narrow-only" }, order), h("label", { class: "filter" }, "Filter", filter))),
    h("div", { class: "panel scroll" }, table, empty));

  function headCell(column) {
    const button = h("button", { type: "button", onclick: () => sortBy(column.id) }, column.label);
    return { column, root: h("th", { scope: "col", role: "columnheader", class: column.number ? "number" : null }, button) };
  }

  function sortBy(id) {
    const isNumber = COLUMNS.find((column) => column.id === id).number ?? false;
    sorted = { id, down: sorted.id === id ? !sorted.down : isNumber };
    draw();
  }

  function draw() {
    if (!view) return;
    const { key } = COLUMNS.find((column) => column.id === sorted.id);
    const asked = filter.value.trim().toLowerCase();
    const found = view.functions.filter((fn) => fn.function.includes(asked)).sort((a, b) => compare(key(a), key(b)) * (sorted.down ? -1 : 1) || compare(a.function, b.function));
    for (const head of heads) attribute(head.root, "aria-sort", head.column.id !== sorted.id ? "none" : sorted.down ? "descending" : "ascending");
    if (order.value !== sorted.id) order.value = sorted.id;
    keyed(body, found, (fn) => fn.function, functionRow);
    table.hidden = found.length === 0;
    empty.hidden = found.length > 0;
    text(empty, view.functions.length ? `No function's name contains “${asked}”.` : "Nothing is deployed. Deploy from this page, or run: fastgshare deploy FILE");
  }
  return { root, update: (news) => { view = news; draw(); } };
}

const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);

function functionRow(fn) {
  const letter = h("span", { class: "letter", "aria-hidden": "true" });
  const link = h("a", { href: `#/functions/${encodeURIComponent(fn.function)}` }, fn.function);
  const below = h("span", { class: "sub" });
  const reason = h("span", { class: "sub reason" });
  const line = spark();
  const rate = h("span", { class: "beside" });
  const cells = Object.fromEntries(COLUMNS.slice(1).map((column) => [column.id, h("td", { role: "cell", "data-label": column.label, class: column.number ? "number" : null })]));
  cells.rate.append(line.root, " ", rate);
  const root = h("tr", { role: "row" }, h("th", { scope: "row", role: "rowheader" }, letter, link, below, reason), Object.values(cells));
  function update(news) {
    attribute(letter, "data-hue", hueOf(news.function));
    text(letter, letterOf(news.function));
    text(below, `${news.policy}, generation ${news.generation}${news.serving && news.serving !== news.generation ? ` (${news.serving} serves)` : ""}`);
    text(reason, news.reasons[0] ?? "");
    text(cells.objective, objective(news));
    for (const window of WINDOWS) {
      cells[window].classList.toggle("broken", isBroken(news, window));
      text(cells[window], exactPercent(news.attainment[window]));
    }
    text(cells.burn, times(news.burn["10m"]));
    text(rate, rounded(news.rate));
    line.update(news.rate_spark, news.missed_spark);
    text(cells.p50, ms(news.p50_ms));
    text(cells.p99, ms(news.p99_ms));
    text(cells.replicas, `${news.ready} of ${wanted(news)}`);
    cells.replicas.classList.toggle("broken", news.ready < news.wanted_min);
    text(cells.waiting, news.held ? `${news.outstanding} + ${news.held} held` : news.outstanding);
    text(cells.refused, refusedOf(news) || NONE);
  }
  return { root, update };
}

export const summary = (view) => [
  counted(view.devices.length, "device"), counted(view.functions.length, "function"),
  counted(view.devices.reduce((sum, device) => sum + device.replicas.length, 0), "replica"),
  `${rounded(view.functions.reduce((sum, fn) => sum + fn.rate, 0))} requests/s`,
];
