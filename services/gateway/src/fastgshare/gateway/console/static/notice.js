// Where a form says what became of it: in words, read out at once.

import { h } from "./dom.js";

export function notice() {
  const root = h("div", { role: "status", "aria-live": "polite" });
  const show = (kind, ...content) => root.replaceChildren(h("div", { class: `notice ${kind}` }, ...content));
  return {
    root,
    doing: (words) => show("", words),
    done: (words) => show("done", words),
    clear: () => root.replaceChildren(),
    wrong(fault) {
      const problems = fault.problems?.length > 1 ? [h("ul", {}, fault.problems.map((problem) => h("li", {}, problem)))] : [];
      show("wrong", problems.length ? "It was refused:" : fault.message || "something went wrong", ...problems);
    },
  };
}
