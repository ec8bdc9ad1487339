// Each function's letter and hue, the same wherever it is shown; a letter because colours alone say nothing to many.

const HUES = 8;
const places = new Map();

function place(name) {
  if (!places.has(name)) places.set(name, places.size);
  return places.get(name);
}

export const learn = (names) => names.forEach(place);
export const hueOf = (name) => place(name) % HUES;

export function letterOf(name) {
  const at = place(name);
  const letter = String.fromCharCode(65 + (at % 26));
  return at < 26 ? letter : `${letter}${Math.floor(at / 26)}`;
}
