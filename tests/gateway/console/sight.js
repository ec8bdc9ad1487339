// What can be measured of a page: contrast of every text, names for everything, nothing wider than the window.

const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });

function rgba(colour) {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = colour;
  canvas.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
  return [r, g, b, a / 255];
}

const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);

// Relative luminance and contrast as WCAG 2.2 has them.
function luminance(colour) {
  const [r, g, b] = colour.slice(0, 3).map((value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(one, other) {
  const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (light + 0.05) / (dark + 0.05);
}

function ground(node) {
  const layers = [];
  for (let at = node; at && layers.at(-1)?.[3] !== 1; at = at.parentElement) {
    layers.push(rgba(getComputedStyle(at).backgroundColor));
  }
  return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
}

function faint(least) {
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const words = walker.currentNode.data.trim();
    const node = walker.currentNode.parentElement;
    const box = node.getBoundingClientRect();
    const isSeen = words && box.width && box.height;
    if (!isSeen || node.closest(".unseen, [hidden], .skip, noscript, button:disabled")) continue;
    const grounds = [ground(node)];
    const used = node.closest(".piece")?.querySelector(".used");
    if (used) grounds.push(over(rgba(getComputedStyle(used).backgroundColor), grounds[0]));
    for (const each of grounds) {
      const ratio = contrast(over(rgba(getComputedStyle(node).color), each), each);
      if (ratio < least) found.push(`${words.slice(0, 40)} (${node.tagName}.${node.className}): ${ratio.toFixed(2)}`);
    }
  }
  return found;
}

function nameOf(node) {
  const by = document.getElementById(node.getAttribute("aria-labelledby"));
  const labels = [...(node.labels ?? [])].map((label) => label.innerText).join("");
  return (node.getAttribute("aria-label") || by?.textContent || labels || node.innerText || "").trim();
}

function unspoken() {
  const all = (css) => [...document.querySelectorAll(css)];
  const wanted = all("a[href], button, input, select, textarea, dialog, [role=group], section");
  const nameless = wanted.filter((node) => node.getClientRects().length && !nameOf(node));
  const ids = all("[id]").map((node) => node.id);
  const dangling = all("[aria-labelledby]").filter((node) => !document.getElementById(node.getAttribute("aria-labelledby")));
  return [
    ...nameless.map((node) => `no name: ${node.outerHTML.slice(0, 100)}`),
    ...ids.filter((id, at) => ids.indexOf(id) !== at).map((id) => `id twice: ${id}`),
    ...dangling.map((node) => `no such label: ${node.outerHTML.slice(0, 100)}`),
    ...["h1", "main"].filter((tag) => all(tag).length !== 1).map((tag) => `not one ${tag}`),
    ...all("svg:not([aria-hidden=true])").map(() => "a picture without words"),
    ...all("[tabindex]").filter((node) => node.tabIndex > 0).map(() => "an order of its own"),
  ];
}

function tooWide() {
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width) return [];
  const clips = (node) => getComputedStyle(node).overflowX !== "visible";
  const isClipped = (node) => node && (clips(node) || isClipped(node.parentElement));
  const guilty = [...document.querySelectorAll("body *")]
    .filter((node) => node.getBoundingClientRect().right > width + 1 && !isClipped(node.parentElement));
  return ["wider than the window", ...guilty.map((node) => `${node.tagName}.${node.className}`).slice(0, 5)];
}
