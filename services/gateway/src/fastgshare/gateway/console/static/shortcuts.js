// Single keys; they can be switched off, and are never taken from somebody who types.

const STORED = "fastgshare.shortcuts";

export function shortcuts(actions) {
  let areOn = true;
  try { areOn = localStorage.getItem(STORED) !== "off"; } catch { /* on, then */ }
  addEventListener("keydown", (event) => {
    if (!areOn || event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open]")) return;
    if (event.target.matches?.("input, select, textarea")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
  return {
    get areOn() { return areOn; },
    switchTo(wanted) {
      areOn = wanted;
      try { localStorage.setItem(STORED, wanted ? "on" : "off"); } catch { /* until the page is closed */ }
    },
  };
}
