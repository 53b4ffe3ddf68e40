import { player } from "./charts.js";
import { byId, make } from "./dom.js";
import { ask, Faults, newest } from "./python.js";
import { inEnglish, language, t } from "./words.js";

const EXPERIMENTS = [
  ["test1.toml", "2 GB, OOM killer on"],
  ["test2.toml", "2 GB and 2 GB of swap, OOM killer off"],
  ["test3.toml", "2 GB without swap, OOM killer off"],
];
const KINDS = { chain: "The request", oom: "The decision", score: "The score", kill: "The kill" };
const KNOBS = {
  panic_on_oom: "0: kill a process. 1: panic if the whole machine ran out. 2: panic on every OOM, also of a memory cgroup.",
  oom_kill_allocating_task: "1: kill the process that asks, instead of looking for the worst; only if the whole machine ran out.",
  overcommit_memory: "When memory is promised: 0 refuses what can't ever fit, 1 nothing, 2 all beyond a limit, so that malloc fails before memory runs out. It does not change who dies, but in the article's reading.",
  oom_score_adj: "Thousandths of the memory that counts are added to this process's badness; -1000: never chosen.",
};
const COLOURS = ["#3b6fb6", "#d08a2e", "#4a9a5b", "#b0569b", "#7d6bc4", "#8c6d31", "#c0504d", "#4aa3a2"];

const now = { versions: [], at: 0, snapshot: "", name: "", asker: null, memcg: null, knobs: new Map(), found: null, victims: [], step: 0, run: null };
let begun = false;

// A pair of texts, English and Chinese.
const both = (pair) => pair[language() === "zh" ? 1 : 0];

const settings = () => [...now.knobs].map(([key, value]) => `${key}=${value}`);

// What every version would do is asked only where something else than the version changed.
let stale = true;

const decide = newest(async (keep = false) => {
  const { name } = now;
  const asked = { snapshot: now.snapshot, settings: settings(), asker: now.asker, memcg: now.memcg };
  const spoken = language();
  try {
    if (stale) {
      stale = false;
      now.victims = await ask("victims", asked);
    }
    strip();
    const kernel = now.versions[now.at].name;
    now.found = { ...await ask("mechanism", { ...asked, kernel, language: spoken }), memcg: asked.memcg, name };
    if (!keep) now.step = 0;
    draw();
    document.documentElement.dataset.mechanism = `${kernel} ${now.found.victim}`;
  } catch (error) {
    byId("outcome").textContent = error instanceof Faults ? error.lines.join(" ") : t("This is a defect of oomkit: {}", error.message);
    byId("outcome").classList.add("bad");
  }
});

function again() {
  stale = true;
  return decide();
}

function named({ action, victim }) {
  if (action === "absent") return t("no memory cgroups yet");
  if (action === "panic") return t("panic");
  return victim ?? t("no kill");
}

// One cell a version, coloured by what it would do.
function strip() {
  const colours = new Map();
  byId("strip").replaceChildren(...now.victims.map((one, i) => {
    const key = named(one);
    if (!colours.has(key)) colours.set(key, COLOURS[colours.size % COLOURS.length]);
    const svg = make("svg", { viewBox: "0 0 10 10", preserveAspectRatio: "none", class: i === now.at ? "here" : "" },
      make("rect", { width: 10, height: 10, fill: one.action === "panic" ? "#c62828" : one.action === "absent" ? "#8a8f98" : colours.get(key) }),
      make("title", {}, `${now.versions[i].name}: ${key}`));
    svg.addEventListener("click", () => { byId("kernel-version").value = i; choose(i); });
    return svg;
  }));
  spans();
}

// The same in words: from which to which version the same process dies.
function spans() {
  const found = [];
  now.victims.forEach((one, i) => {
    const { name, vendor } = now.versions[i];
    const last = found.at(-1);
    if (last && last.key === named(one) && last.vendor === vendor) last.to = name;
    else found.push({ key: named(one), vendor, from: name, to: name });
  });
  byId("spans").replaceChildren(...found.map(({ key, vendor, from, to }) => make("li", {},
    `${from}${to === from ? "" : ` \u2013 ${to}`}${vendor ? ` (${t("vendors")})` : ""}: `, make("strong", {}, key))));
}

function choose(at) {
  now.at = at;
  version();
  strip();
  decide();
}

function version() {
  const one = now.versions[now.at];
  byId("kernel-version").setAttribute("aria-valuetext", one.name);
  byId("version-name").textContent = `Linux ${one.name}${one.range[0] === one.name ? "" : ` (${both(one.range)})`}`;
  byId("version-what").replaceChildren(...one.changes.map(({ what, meaning }) => make("li", {}, both(what), meaning ? make("span", { class: "dim" }, ` \u2013 ${both(meaning)}`) : null)));
}

function outcome() {
  const { action, victim } = now.found;
  const place = byId("outcome");
  place.classList.remove("bad");
  if (action === "panic") place.textContent = t("The kernel panics: {}", victim);
  else if (victim) place.textContent = now.found.memcg ? t("{} would lose {}.", now.found.memcg, victim) : t("This machine would lose {}.", victim);
  else place.textContent = t("No process is killed.");
}

function draw() {
  const { found } = now;
  lists();
  outcome();
  const marked = new Map(found.steps.map((step) => [`${step.chart}/${step.row}`, step.passed ? "passed" : "taken"]));
  const seen = new Set(found.steps.map((step) => step.chart));
  let kind = "";
  const parts = [];
  found.charts.forEach((chart, i) => {
    if (chart.kind !== kind) {
      kind = chart.kind;
      parts.push(make("section", { class: "stage", "aria-label": t(KINDS[kind]) }, make("h2", {}, t(KINDS[kind]))));
    }
    parts.at(-1).append(make("div", { class: `chart-of ${seen.has(i) ? "seen" : ""}`, "data-chart": i },
      make("h3", {}, make("code", {}, `${chart.function}()`)),
      chart.rows.length ? make("ol", { class: "rows" }, chart.rows.map((row, j) => make("li", { class: `${row.leads ? "question" : "action"} ${marked.get(`${i}/${j}`) || ""}`, "data-row": j },
        make("span", { class: "box" }, both(row.text)),
        row.leads ? make("span", { class: "leads" }, make("span", { class: "yes" }, t("yes")), make("span", { class: "exit" }, both(row.leads))) : null))) : null));
  });
  byId("flow").replaceChildren(...parts);
  terms();
  knobs();
  walk(now.step);
}

function terms() {
  const rows = now.found.terms;
  byId("terms").replaceChildren(...(rows.length ? [make("h2", {}, t("The victim's badness, term by term")),
    make("div", { class: "wide", tabindex: "0", role: "region", "aria-label": t("The victim's badness, term by term") }, make("table", {}, make("tbody", {}, rows.map((row, i) => make("tr", { class: i === rows.length - 1 ? "victim" : "" },
      make("th", { scope: "row" }, t(row.name)), make("td", { class: "n name" }, row.value.toLocaleString("en")), make("td", {}, t(row.unit)))))))] : []));
}

function walk(step) {
  const { steps } = now.found;
  now.step = Math.min(Math.max(step, 0), steps.length - 1);
  for (const one of byId("flow").querySelectorAll(".now")) one.classList.remove("now");
  const at = steps[now.step];
  if (!at) return;
  const chart = byId("flow").querySelector(`[data-chart="${at.chart}"]`);
  (at.row === null ? chart : chart.querySelector(`[data-row="${at.row}"]`)).classList.add("now");
  byId("step-text").replaceChildren(`${t("Step {} of {}", now.step + 1, steps.length)}: `, make("span", inEnglish(at.text), at.text));
  byId("step-back").disabled = now.step === 0;
  byId("step-on").disabled = now.step === steps.length - 1;
}

// Each knob with each of its values, and what this version would do with it.
function knobs() {
  const { knobs: known, adjusted } = now.found;
  const rows = known.map((one) => ({ key: `vm.${one.knob}`, name: one.knob, about: KNOBS[one.knob], ...one }));
  if (adjusted) rows.push({ key: `task.${adjusted.pid}.oom_score_adj`, name: `oom_score_adj ${adjusted.comm}[${adjusted.pid}]`, about: KNOBS.oom_score_adj, exists: true, ...adjusted });
  const active = document.activeElement?.dataset?.knob;
  byId("mechanism-knobs").replaceChildren(...rows.map((row) => make("fieldset", { class: "switch" }, make("legend", {}, make("code", {}, row.name)),
    make("p", { class: "dim" }, row.exists ? t(row.about) : t("This version has no such knob.")),
    row.exists ? make("ul", {}, row.outcomes.map((one) => make("li", {},
      make("button", { type: "button", "aria-pressed": String(one.value === row.now), "data-knob": `${row.key}=${one.value}`, onclick: () => { now.knobs.set(row.key, one.value); again(); } }, String(one.value)),
      make("span", { class: one.action === "panic" ? "bad" : "" }, named(one))))) : null)));
  const held = [...byId("mechanism-knobs").querySelectorAll("button")].find((one) => one.dataset.knob === active);
  held?.focus();
}

async function experiment(file) {
  const place = byId("experiment");
  delete document.documentElement.dataset.experiment;
  place.replaceChildren(make("p", { class: "said" }, t("Playing {}\u2026", file)));
  try {
    now.run = await ask("play", { text: await (await fetch(`examples/scenarios/${file}`)).text(), language: language() });
    place.replaceChildren(make("h3", inEnglish(now.run.title), now.run.title), player(now.run), make("p", {}, make("a", { href: `#machine?file=${file}` }, t("Change this machine"))));
    document.documentElement.dataset.experiment = file;
  } catch (error) {
    place.replaceChildren(make("p", { class: "said bad" }, error.message));
  }
}

export function speak() {
  byId("step-back").setAttribute("aria-label", t("Step back"));
  byId("step-on").setAttribute("aria-label", t("Next step"));
  byId("experiments").replaceChildren(...EXPERIMENTS.map(([file, title]) => make("li", {}, make("button", { type: "button", onclick: () => experiment(file) }, make("strong", {}, t("Play")), make("span", {}, t(title))))));
  for (const option of byId("mechanism-snapshot").options) option.textContent = t(titles.get(option.value));
  for (const [id, text] of [["asker", "not known"], ["mechanism-memcg", "the machine"]]) {
    if (byId(id).options.length) byId(id).options[0].textContent = t(text);
  }
  byId("experiment").replaceChildren();
  if (now.versions.length) version();
  if (now.found) {
    draw();
    decide(true); // its steps in the other language
  }
}

async function load(name) {
  Object.assign(now, { name, asker: null, memcg: null, knobs: new Map(), found: null });
  now.snapshot = await (await fetch(`examples/snapshots/${name}`)).text();
  await again();
}

// Who may ask, and what may run out, are those of the snapshot that is drawn.
function lists() {
  const { found } = now;
  if (byId("asker").dataset.of === found.name) return;
  byId("asker").dataset.of = found.name;
  byId("asker").replaceChildren(make("option", { value: "" }, t("not known")), ...found.tasks.map((task) => make("option", { value: task.pid }, `${task.comm}[${task.pid}]`)));
  byId("mechanism-memcg").replaceChildren(make("option", { value: "" }, t("the machine")), ...found.memcgs.map((path) => make("option", { value: path }, path)));
}

const titles = new Map();

export function begin(examples) {
  for (const { file, title } of examples.snapshots) titles.set(file, title);
  byId("mechanism-snapshot").append(...examples.snapshots.map(({ file, title }) => make("option", { value: file }, title)));
  byId("mechanism-snapshot").addEventListener("change", (event) => load(event.target.value));
  byId("asker").addEventListener("change", (event) => { now.asker = event.target.value ? Number(event.target.value) : null; again(); });
  byId("mechanism-memcg").addEventListener("change", (event) => { now.memcg = event.target.value || null; again(); });
  byId("kernel-version").addEventListener("input", (event) => choose(Number(event.target.value)));
  byId("step-back").addEventListener("click", () => walk(now.step - 1));
  byId("step-on").addEventListener("click", () => walk(now.step + 1));
  speak();
}

export async function show() {
  if (begun) return;
  begun = true;
  now.versions = await ask("versions");
  const newestMainline = now.versions.findLastIndex((one) => !one.vendor);
  now.at = newestMainline;
  byId("kernel-version").max = now.versions.length - 1;
  byId("kernel-version").value = now.at;
  version();
  await load(byId("mechanism-snapshot").value);
}
