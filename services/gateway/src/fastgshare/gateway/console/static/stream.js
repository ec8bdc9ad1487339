// The platform's frames, for as long as somebody looks. It comes back by itself, and says what it is doing.

import { isDenied, refusal, withKey } from "./api.js";

const SILENCE_MS = 6000;
const HIDDEN_MS = 20000;
const WAITS_S = [1, 2, 4, 8, 15];

// `onView` says itself that it is live. Returns how to begin anew, as with another key. `tell(state, words)`: connecting or waiting. `askForKey(words)` resolves to whether to try again at once.
export function follow({ onView, tell, askForKey }) {
  let lost = 0;
  let reading = null;
  let wake = () => {};
  let asleep = false;
  let anew = false;
  const sleep = (seconds) => new Promise((resolve) => { wake = resolve; setTimeout(resolve, seconds * 1000); });

  async function read() {
    reading = new AbortController();
    let silence = setTimeout(() => reading.abort(), SILENCE_MS);
    try {
      const response = await fetch("stream", { headers: withKey(), cache: "no-store", signal: reading.signal });
      if (!response.ok) throw await refusal(response);
      for await (const data of events(response.body.getReader(), () => {
        clearTimeout(silence);
        silence = setTimeout(() => reading.abort(), SILENCE_MS);
      })) {
        lost = 0;
        try {
          onView(JSON.parse(data));
        } catch (fault) {
          console.error(fault);
          tell("waiting", `this page failed to show what came: ${fault.message}`);
        }
      }
      throw new Error("the gateway ended the stream");
    } finally {
      clearTimeout(silence);
      reading.abort();
    }
  }

  async function run() {
    tell("connecting", "connecting");
    for (;;) {
      try {
        await read();
      } catch (fault) {
        if (anew) {
          anew = false;
          continue;
        }
        if (isDenied(fault) && (await askForKey(fault.message))) continue;
        if (asleep) {
          await new Promise((resolve) => { wake = resolve; });
          continue;
        }
        const seconds = WAITS_S[Math.min(lost++, WAITS_S.length - 1)];
        const why = fault.status ? fault.message : "connection lost";
        tell("waiting", `${why}; trying again in ${seconds} s`);
        await sleep(seconds * (0.8 + 0.4 * Math.random()));
        tell("waiting", `${why}; connecting`);
      }
    }
  }

  let hidden = null;
  document.addEventListener("visibilitychange", () => {
    clearTimeout(hidden);
    if (document.hidden) {
      hidden = setTimeout(() => { asleep = true; reading?.abort(); }, HIDDEN_MS);
    } else {
      asleep = false;
      wake();
    }
  });
  addEventListener("online", () => wake());
  run();
  return () => {
    anew = Boolean(reading && !reading.signal.aborted);
    reading?.abort();
    wake();
  };
}

async function* events(reader, heard) {
  const decoder = new TextDecoder();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    heard();
    held += decoder.decode(value, { stream: true });
    let end;
    while ((end = held.indexOf("\n\n")) >= 0) {
      const data = held.slice(0, end).split("\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice(6));
      held = held.slice(end + 2);
      if (data.length) yield data.join("\n");
    }
  }
}
