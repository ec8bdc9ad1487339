// Small lines of what was: decoration beside a number that says the same, so hidden from screen readers.

import { attribute, s } from "./dom.js";

const WIDTH = 100;
const HEIGHT = 24;

export function spark(kind = "spark") {
  const area = s("path", { class: "area" });
  const line = s("path", { class: "line" });
  const missed = s("path", { class: "missed" });
  const root = s("svg", { class: kind, viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" }, area, line, missed);
  function update(values, missedShares = [], top = Math.max(...values, 0)) {
    const points = values.map((value, index) => [x(index, values.length), y(value, top)]);
    const path = points.map(([px, py]) => `${px} ${py}`).join(" L");
    attribute(line, "d", points.length > 1 ? `M${path}` : "");
    attribute(area, "d", points.length > 1 ? `M${points[0][0]} ${HEIGHT} L${path} L${points.at(-1)[0]} ${HEIGHT} Z` : "");
    const late = missedShares.map((share, index) => (share > 0 ? `M${x(index, missedShares.length)} ${HEIGHT} v${-Math.max(3, share * HEIGHT)}` : ""));
    attribute(missed, "d", late.join(""));
  }
  return { root, update };
}

const x = (index, count) => round(count > 1 ? (index * WIDTH) / (count - 1) : WIDTH);
const y = (value, top) => round(HEIGHT - 1 - (top > 0 ? (value / top) * (HEIGHT - 3) : 0));
const round = (value) => Math.round(value * 100) / 100;
