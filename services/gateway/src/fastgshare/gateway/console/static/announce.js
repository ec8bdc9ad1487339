// What screen readers are told unasked: only what changed for better or worse, and not more often than they can say it.

import { text } from "./dom.js";
import { isBroken } from "./functions.js";

const EVERY_MS = 8000;
const AT_MOST = 4;

export function announcer(place) {
  let waiting = [];
  let timer = null;
  let before = null;

  function flush() {
    timer = null;
    if (!waiting.length) return;
    const more = waiting.length - AT_MOST;
    text(place, `${waiting.slice(0, AT_MOST).join(". ")}${more > 0 ? `. And ${more} more` : ""}.`);
    waiting = [];
    timer = setTimeout(flush, EVERY_MS);
  }

  function say(words) {
    waiting.push(words);
    timer ??= setTimeout(flush, 200);
  }

  function look(view) {
    const now = state(view);
    if (before) {
      for (const [name, { words }] of now) if (before.get(name)?.words !== words && (words || before.has(name))) say(words || `${name}: well again`);
      for (const name of before.keys()) if (!now.has(name)) say(`${name} is gone`);
    }
    before = now;
  }
  return { say, look };
}

function state(view) {
  const found = new Map();
  for (const device of view.devices) found.set(`device ${device.device}`, { words: device.is_healthy ? "" : `device ${device.device} is not healthy` });
  for (const fn of view.functions) {
    const short = fn.ready < fn.wanted_min ? `${fn.function}: ${fn.ready} of ${fn.wanted_min} replicas ready` : "";
    const late = isBroken(fn, "1m") ? `${fn.function} misses its objective` : "";
    found.set(`function ${fn.function}`, { words: [short, late].filter(Boolean).join(", ") });
  }
  return found;
}
