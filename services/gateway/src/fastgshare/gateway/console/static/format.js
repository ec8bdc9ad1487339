// Numbers and times as people read them; what is not known is a dash.

export const NONE = "–";
const known = (value) => value !== null && value !== undefined && Number.isFinite(value);

export function rounded(value, digits = 3) {
  if (!known(value)) return NONE;
  if (value === 0) return "0";
  const size = Math.abs(value);
  const decimals = Math.max(0, Math.min(2, digits - 1 - Math.floor(Math.log10(size))));
  return value.toLocaleString("en", { minimumFractionDigits: 0, maximumFractionDigits: decimals });
}

export const ms = (value) => (known(value) ? `${rounded(value)} ms` : NONE);
export const percent = (share) => (known(share) ? `${Math.round(share * 100)} %` : NONE);

// Shares near one are what objectives are about: 99.95 % must not read 100 %.
export function exactPercent(share) {
  if (!known(share)) return NONE;
  const value = share * 100;
  const shown = value > 99 ? Math.floor(value * 100) / 100 : Math.floor(value * 10) / 10;
  return `${shown.toLocaleString("en", { maximumFractionDigits: 2 })} %`;
}

export const times = (value) => (known(value) ? `${rounded(value, 2)}×` : NONE);

export function memory(mib) {
  if (!known(mib)) return NONE;
  if (mib > 0 && mib < 0.1) return `${rounded(mib * 1024, 2)} KiB`;
  return mib < 1024 ? `${rounded(mib, 3)} MiB` : `${rounded(mib / 1024, 3)} GiB`;
}

// Both in the unit of the larger: "17.8 of 140 GiB".
export function memoryOf(usedMib, allMib) {
  const [divisor, unit] = allMib < 1024 ? [1, "MiB"] : [1024, "GiB"];
  return `${rounded(usedMib / divisor)} of ${rounded(allMib / divisor)} ${unit}`;
}

export const clock = (us) => new Date(us / 1000).toLocaleTimeString("en-GB");
export const moment = (us) => new Date(us / 1000).toISOString();

export function since(us, nowUs) {
  const seconds = Math.max(0, Math.round((nowUs - us) / 1e6));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} days`;
}

export const counted = (count, one, many = `${one}s`) => `${rounded(count)} ${count === 1 ? one : many}`;

// Which chunks: "0–3, 7".
export function ranges(numbers) {
  const found = [];
  for (const number of [...numbers].sort((a, b) => a - b)) {
    const last = found.at(-1);
    if (last && number === last[1] + 1) last[1] = number;
    else found.push([number, number]);
  }
  return found.map(([from, to]) => (from === to ? `${from}` : `${from}–${to}`)).join(", ") || NONE;
}
