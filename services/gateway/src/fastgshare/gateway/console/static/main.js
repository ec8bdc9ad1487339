// The page: one stream of frames, drawn on whichever page is open.

import { keepKey, whenKeyIsMissing } from "./api.js";
import { announcer } from "./announce.js";
import { decisionsView } from "./decisions.js";
import { deployPage } from "./deploy.js";
import { devicesView } from "./devices.js";
import { helpDialog, keyFromPerson } from "./dialogs.js";
import { h, text } from "./dom.js";
import { clock } from "./format.js";
import { functionPage } from "./function-page.js";
import { functionsView, summary } from "./functions.js";
import { learn } from "./marks.js";
import { servicesView } from "./services.js";
import { shortcuts } from "./shortcuts.js";
import { follow } from "./stream.js";

const find = (id) => document.getElementById(id);
const [main, totals, connection, connectionText] = ["main", "totals", "connection", "connection-text"].map(find);
const announce = announcer(find("announcements"));
let view = null;
let isPaused = false;
let page = null;

function overviewPage() {
  const parts = [devicesView(), functionsView(), decisionsView(), servicesView()];
  const title = h("h1", { class: "unseen", tabindex: "-1" }, "Overview");
  const root = h("div", { class: "overview" }, title, parts.map((part) => part.root));
  return { root, update: (news) => parts.forEach((part) => part.update(news)), title, name: "FaST-GShare console" };
}

const overview = overviewPage();
const go = (hash) => { location.hash = hash; };

function decoded(part) {
  try { return decodeURIComponent(part); } catch { return part; } // an address that somebody cut off
}

function open() {
  const [, place, name] = location.hash.split("/");
  if (place === "functions" && name) page = functionPage(decoded(name), go);
  else if (place === "deploy") page = deployPage(go);
  else page = overview;
  main.replaceChildren(page.root);
  document.title = page.name;
  if (view) page.update(view);
}

addEventListener("hashchange", () => {
  open();
  scrollTo(0, 0);
  page.title.focus({ preventScroll: true });
});

function show(news) {
  view = news;
  learn(view.functions.map((fn) => fn.function));
  totals.replaceChildren(...summary(view).map((part) => h("span", {}, part)));
  main.dataset.at = view.at_us;
  page.update(view);
  announce.look(view);
}

let waiting = null;
function onView(news) {
  if (isPaused) waiting = news;
  else {
    show(news);
    tell("live");
  }
}

let told = "";
function tell(state, words) {
  if (isPaused && state === "live") return;
  const shown = state === "live" ? `live, ${view ? clock(view.at_us) : ""}` : words;
  connection.dataset.state = state;
  text(connectionText, shown);
  if (state !== told && (state === "waiting" || told === "waiting")) announce.say(state === "live" ? "connected again" : shown);
  told = state;
}

const pauseButton = find("pause");
function pause() {
  isPaused = !isPaused;
  pauseButton.setAttribute("aria-pressed", String(isPaused));
  text(pauseButton, isPaused ? "Go on" : "Pause");
  if (isPaused) {
    connection.dataset.state = "paused";
    text(connectionText, `paused at ${view ? clock(view.at_us) : "–"}`);
  } else if (waiting) onView(waiting);
}

const THEMES = ["system", "light", "dark"];
const themeButton = find("theme");
const theme = () => document.documentElement.dataset.theme ?? "system";
const tellTheme = () => text(themeButton, `Theme: ${theme() === "system" ? "auto" : theme()}`);
function nextTheme() {
  const chosen = THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length];
  if (chosen === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
  try { localStorage.setItem("fastgshare.theme", chosen); } catch { /* for this page alone, then */ }
  tellTheme();
}

function toSection(id) {
  if (page !== overview) go("#/");
  requestAnimationFrame(() => find(`${id}-title`)?.focus());
}

function toFilter() {
  if (page !== overview) go("#/");
  requestAnimationFrame(() => find("function-filter")?.focus());
}

const keys = shortcuts({
  d: () => toSection("devices"), f: () => toSection("functions"), e: () => toSection("decisions"), "/": toFilter,
  n: () => go("#/deploy"), p: pause, t: nextTheme, "?": help, Escape: () => { if (page !== overview) go("#/"); },
});

function help() {
  helpDialog([
    ["d", "devices"], ["f", "functions"], ["e", "decisions"], ["/", "filter functions"], ["n", "deploy a function"],
    ["p", "pause and go on"], ["t", "theme"], ["Esc", "back to the overview"], ["?", "this help"],
  ], keys.areOn, keys.switchTo);
}

async function askForKey(words) {
  const given = await keyFromPerson("This platform wants an API key", words);
  if (given) keepKey(given);
  return Boolean(given);
}

async function useAnotherKey() {
  const given = await keyFromPerson("Use another API key", "It takes the place of the one that is used now");
  if (!given) return;
  keepKey(given);
  beginAnew();
}

pauseButton.addEventListener("click", pause);
themeButton.addEventListener("click", nextTheme);
find("help").addEventListener("click", help);
find("key").addEventListener("click", useAnotherKey);
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address's fragment is the open page's
  main.focus();
});
whenKeyIsMissing(askForKey);
tellTheme();
open();
const beginAnew = follow({ onView, tell, askForKey });
