// Calls to the gateway. Whatever goes wrong is a Refused with a sentence for people; a missing key is asked for.

const KEY = "fastgshare.key";
const TIMEOUT_MS = 30000;

export class Refused extends Error {
  constructor(message, status = 0, problems = []) {
    super(message);
    this.status = status;
    this.problems = problems;
  }
}

let askForKey = async () => false;
let kept = "";
export const whenKeyIsMissing = (ask) => { askForKey = ask; };

export function key() {
  try { return sessionStorage.getItem(KEY) ?? kept; } catch { return kept; }
}

export function keepKey(value) {
  kept = value;
  try { sessionStorage.setItem(KEY, value); } catch { /* for as long as the page is open, then */ }
}

export const withKey = (headers = {}) => (key() ? { ...headers, authorization: `Bearer ${key()}` } : headers);

export async function refusal(response) {
  let document = {};
  try { document = await response.json(); } catch { /* no words from the gateway: ours */ }
  const wait = response.headers.get("retry-after");
  const message = document.error ?? `the gateway answered ${response.status} ${response.statusText}`;
  return new Refused(wait ? `${message} (try again in ${wait} s)` : message, response.status, document.problems ?? []);
}

const tags = new WeakMap();

// The entity tag that an answer came with.
export const tagOf = (answer) => tags.get(answer);

export async function call(method, path, { body, type, match, limitMs = TIMEOUT_MS } = {}) {
  const headers = { ...(type ? { "content-type": type } : {}), ...(match ? { "if-match": match } : {}) };
  const send = () => fetch(`../${path}`, {
    method, body, cache: "no-store", headers: withKey(headers), signal: AbortSignal.timeout(limitMs),
  });
  let response;
  try {
    response = await send();
    if (response.status === 401 && (await askForKey((await refusal(response)).message))) response = await send();
  } catch (fault) {
    const late = fault.name === "TimeoutError";
    throw new Refused(late ? `the gateway did not answer within ${limitMs / 1000} s` : "the gateway cannot be reached");
  }
  if (!response.ok) throw await refusal(response);
  const answer = await response.json();
  if (response.headers.has("etag")) tags.set(answer, response.headers.get("etag"));
  return answer;
}

export const callJson = (method, path, document, match) =>
  call(method, path, { body: JSON.stringify(document), type: "application/json", match });

export const isDenied = (fault) => fault.status === 401 || fault.status === 403;

const AGAIN_MS = 5000;

// Called with every frame: reads once; what failed is read again after a while, or with another key if this one may not.
export function readOnce(read) {
  let state = "due";
  let mayTry = () => true;
  return () => {
    if (state !== "due" || !mayTry()) return;
    state = "reading";
    const [began, used] = [Date.now(), key()];
    read().then(() => { state = "read"; }, (fault) => {
      state = "due";
      mayTry = isDenied(fault) ? () => key() !== used : () => Date.now() - began > AGAIN_MS;
    });
  };
}
