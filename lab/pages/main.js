import { byId } from "./dom.js";
import * as explain from "./explain.js";
import * as machine from "./machine.js";
import * as mechanism from "./mechanism.js";
import { ask, asking, start, state, watch } from "./python.js";
import * as rank from "./rank.js";
import { language, speakTo, t, translate } from "./words.js";

const PAGES = { explain, machine, rank, mechanism };
const WORDS = {
  loading: "Python is loading\u2026 you can paste meanwhile",
  python: "oomkit is loading\u2026",
  ready: "Ready. Nothing leaves this browser.",
};

// #machine?set=... : the page, and what it holds.
function wanted() {
  const [name, query = ""] = location.hash.slice(1).split("?");
  return [name in PAGES ? name : "explain", new URLSearchParams(query)];
}

function show() {
  if (location.hash === "#content") return;
  const [name, query] = wanted();
  for (const section of document.querySelectorAll("section.page")) {
    section.hidden = section.id !== `page-${name}`;
  }
  for (const link of document.querySelectorAll("nav a[data-page]")) {
    if (link.dataset.page === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${byId(`${name}-title`).textContent} \u2013 oomkit lab`;
  PAGES[name].show(query);
}

function say(now) {
  const place = byId("state");
  place.textContent = now === "failed" ? t("Python could not be loaded: {}", state.error) : t(WORDS[now]);
  place.dataset.state = now;
  document.documentElement.dataset.python = now;
}

translate();
watch(say);

const [about, examples] = await Promise.all(
  ["lab.json", "examples/index.json"].map(async (name) => (await fetch(name)).json()),
);
byId("version").textContent = about.oomkit;
if (about.manual) {
  const link = document.createElement("a");
  link.href = "manual/index.html";
  link.dataset.t = "Manual";
  link.textContent = t("Manual");
  document.querySelector("nav").append(link);
}
for (const page of Object.values(PAGES)) page.begin(examples, about);
byId("language").addEventListener("click", () => {
  speakTo(language() === "zh" ? "en" : "zh");
  translate();
  say(state.now);
  for (const page of Object.values(PAGES)) page.speak();
  show();
});
addEventListener("hashchange", show);
show();
// After the first paint: loading Python keeps a CPU busy.
requestAnimationFrame(() => setTimeout(start));

// The browser compiles what of Python is used often: a short scenario, played while nothing is
// asked, makes the first answers as fast as later ones.
const WARM = "container-at-limit.toml";
const TIMES = 6;
watch(async (now) => {
  if (now !== "ready") return;
  const text = await (await fetch(`examples/scenarios/${WARM}`)).text();
  for (let i = 0; i < TIMES; i += 1) {
    await new Promise((go) => { setTimeout(go, 200); });
    if (!asking()) await ask("play", { text }).catch(() => {});
  }
  document.documentElement.dataset.warm = "yes";
});
