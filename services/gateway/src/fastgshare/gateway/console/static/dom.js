// Making and keeping elements. What stays on the page keeps its element, and with it focus, selection and scroll.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else attribute(node, name, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export const h = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
export const s = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

// Set, or remove for null, undefined and false; nothing is touched that is so already.
export function attribute(node, name, value) {
  const absent = value === null || value === undefined || value === false;
  const wanted = absent ? null : value === true ? "" : String(value);
  if (node.getAttribute(name) === wanted) return;
  if (wanted === null) node.removeAttribute(name);
  else node.setAttribute(name, wanted);
}

export function text(node, value) {
  const wanted = value === null || value === undefined ? "" : String(value);
  if (node.textContent !== wanted) node.textContent = wanted;
}

// Children of `parent` become `items` in order: one element for each key, made once, updated ever after.
export function keyed(parent, items, keyOf, make) {
  const known = (parent.keyedParts ??= new Map());
  const wanted = new Set();
  let at = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    wanted.add(key);
    let part = known.get(key);
    if (part === undefined) known.set(key, (part = make(item)));
    part.update(item);
    if (part.root === at) at = at.nextElementSibling;
    else parent.insertBefore(part.root, at);
  }
  for (const [key, part] of known) {
    if (wanted.has(key)) continue;
    part.root.remove();
    known.delete(key);
  }
}

export const labelled = (label, control, hint) =>
  h("label", { class: "field" }, h("span", {}, label), control, hint ? h("span", { class: "hint" }, hint) : null);
