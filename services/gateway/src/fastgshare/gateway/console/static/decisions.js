// What was decided and what happened, newest first, each with its reason.

import { h, keyed, text } from "./dom.js";
import { clock, moment } from "./format.js";

export function decisionsView() {
  let view = null;
  const list = h("ol", { class: "panel decisions", tabindex: "0", "aria-labelledby": "decisions-title" });
  const empty = h("p", { class: "panel empty" });
  const filter = h("input", { type: "search", id: "decision-filter", placeholder: "function, kind or word", oninput: () => draw() });
  const root = h("section", { id: "decisions", class: "on-side", "aria-labelledby": "decisions-title" }, h("div", { class: "stay" },
    h("div", { class: "section-head" }, h("h2", { id: "decisions-title", tabindex: "-1" }, "Decisions"),
      h("div", { class: "filters" }, h("label", { class: "filter" }, "Filter", filter))), list, empty));

  function draw() {
    if (!view) return;
    const asked = plain(filter.value.trim());
    const found = view.decisions.filter(({ kind, function: name, text: told, source }) => plain(`${kind} ${name} ${told} ${source}`).includes(asked));
    keyed(list, found, (decision) => `${decision.at_us} ${decision.kind} ${decision.source} ${decision.text}`, decisionItem);
    list.hidden = found.length === 0;
    empty.hidden = found.length > 0;
    text(empty, view.decisions.length ? "None of them contains that." : "Nothing was decided yet.");
  }
  return { root, update: (news) => { view = news; draw(); } };
}

const plain = (words) => words.replaceAll("_", " ").toLowerCase();

export function decisionItem(decision) {
  const named = decision.function
    ? [h("a", { href: `#/functions/${encodeURIComponent(decision.function)}` }, decision.function), " "]
    : [];
  const root = h("li", { class: "decision" },
    h("time", { datetime: moment(decision.at_us), title: moment(decision.at_us) }, clock(decision.at_us)),
    h("p", { class: "what" }, h("span", { class: "kind" }, decision.kind.replaceAll("_", " ")), " ", named, h("span", { class: "told" }, decision.text)));
  return { root, update: () => {} };
}
