// Questions that must be answered before anything goes on. The browser keeps focus inside and gives it back.

import { h } from "./dom.js";

function open(dialog) {
  document.body.append(dialog);
  dialog.addEventListener("close", () => dialog.remove());
  dialog.showModal();
  return dialog;
}

let count = 0;
const titled = (title) => {
  const id = `dialog-${++count}`;
  return [id, h("h2", { id }, title)];
};

// Resolves to whether it was confirmed; Escape and Cancel do not.
export function confirmed(title, words, action, danger = false) {
  return new Promise((resolve) => {
    const [id, heading] = titled(title);
    const cancel = h("button", { type: "button", autofocus: true, onclick: () => dialog.close("") }, "Cancel");
    const go = h("button", { type: "button", class: danger ? "danger" : "primary", onclick: () => dialog.close("yes") }, action);
    const dialog = h("dialog", { "aria-labelledby": id }, h("div", { class: "body" }, heading, h("p", {}, words), h("div", { class: "buttons" }, cancel, go)));
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"));
    open(dialog);
  });
}

let asking = null;

// Resolves to the key, or null; asked once however many calls want one.
export function keyFromPerson(heading, words) {
  asking ??= new Promise((resolve) => {
    const [id, title] = titled(heading);
    const input = h("input", { type: "password", name: "key", autocomplete: "off", required: true, autofocus: true });
    const form = h("form", { method: "dialog" }, title, h("p", {}, `${words}. It is kept for this tab alone, until you close it.`),
      h("label", { class: "field" }, h("span", {}, "API key"), input),
      h("div", { class: "buttons" }, h("button", { type: "button", onclick: () => dialog.close("") }, "Not now"), h("button", { class: "primary", value: "yes" }, "Use it")));
    const dialog = h("dialog", { "aria-labelledby": id }, form);
    dialog.addEventListener("close", () => {
      asking = null;
      resolve(dialog.returnValue === "yes" ? input.value.trim() : null);
    });
    open(dialog);
  });
  return asking;
}

export function helpDialog(shortcuts, areOn, switchTo) {
  if (document.querySelector("dialog[open]")) return;
  const [id, heading] = titled("Help");
  const box = h("input", { type: "checkbox", onchange: () => switchTo(box.checked) });
  box.checked = areOn;
  const dialog = h("dialog", { "aria-labelledby": id }, h("div", { class: "body" }, heading,
    h("p", {}, "Each device is drawn as what its replicas hold of it: across, chunks of SMs; up, shares of time. Press Tab to a device and the arrow keys to go through its rectangles; Enter opens the function."),
    h("dl", { class: "keys" }, shortcuts.flatMap(([keys, words]) => [h("dt", {}, h("kbd", {}, keys)), h("dd", {}, words)])),
    h("label", { class: "choices" }, h("span", {}, box, " Single-key shortcuts")),
    h("div", { class: "buttons" }, h("button", { type: "button", autofocus: true, onclick: () => dialog.close() }, "Close"))));
  open(dialog);
}
