import { byId, make } from "./dom.js";
import { ask, Faults, newest } from "./python.js";

const WORDS = {
  about: [
    "From the request for a page to the kill, function by function, as the chosen version has it. A machine that has run out goes through: take its steps one by one.",
    "从请求一页内存到杀死进程，逐个函数，按所选版本的内核。一台内存耗尽的机器走完全程：逐步查看。",
  ],
  title: ["How does the kernel choose?", "内核如何选择？"],
  version: ["Twenty years of versions", "二十年的内核版本"],
  machine: ["Machine", "机器"],
  asker: ["Who asks for memory", "请求内存的进程"],
  unknown: ["not known", "未知"],
  yes: ["yes", "是"],
  kill: ["This machine would lose {}.", "这台机器会失去 {}。"],
  panic: ["The kernel panics: {}", "内核 panic：{}"],
  none: ["No process is killed.", "不杀进程。"],
  step: ["Step {} of {}", "第 {} 步，共 {} 步"],
  back: ["Step back", "上一步"],
  on: ["Next step", "下一步"],
  chain: ["The request", "请求"],
  oom: ["The decision", "决定"],
  score: ["The score", "打分"],
  killing: ["The kill", "杀死"],
  terms: ["The victim's badness, term by term", "被选中者的 badness，逐项"],
  experiments: ["The three experiments, playing", "三个实验，运行给你看"],
  switch: ["中文", "English"],
  changes: ["", "（变更说明为英文）"],
};
const EXPERIMENTS = [
  ["test1.toml", ["2 GB, OOM killer on", "2 GB 内存，开启 OOM killer"]],
  ["test2.toml", ["2 GB and 2 GB of swap, OOM killer off", "2 GB 内存加 2 GB swap，关闭 OOM killer"]],
  ["test3.toml", ["2 GB without swap, OOM killer off", "2 GB 内存，没有 swap，关闭 OOM killer"]],
];
const KINDS = { chain: "chain", oom: "oom", score: "score", kill: "killing" };
const COLOURS = ["#3b6fb6", "#d08a2e", "#4a9a5b", "#b0569b", "#7d6bc4", "#8c6d31", "#c0504d", "#4aa3a2"];

const now = { language: 0, versions: [], at: 0, snapshot: "", name: "", asker: null, found: null, victims: [], step: 0 };
let begun = false;

const word = (name, ...given) => given.reduce((text, one) => text.replace("{}", one), WORDS[name][now.language]);

function settings() {
  const knobs = [["panic_on_oom", "mechanism-panic"], ["oom_kill_allocating_task", "mechanism-asker"], ["overcommit_memory", "mechanism-overcommit"]];
  return knobs.map(([name, id]) => `vm.${name}=${byId(id).value}`);
}

const again = newest(async (all = true) => {
  const asked = { snapshot: now.snapshot, settings: settings(), asker: now.asker };
  try {
    now.found = await ask("mechanism", { ...asked, kernel: now.versions[now.at].name });
    now.step = 0;
    draw();
    if (all) {
      now.victims = await ask("victims", asked);
      strip();
    }
    document.documentElement.dataset.mechanism = `${now.versions[now.at].name} ${now.found.victim}`;
  } catch (error) {
    byId("outcome").textContent = error instanceof Faults ? error.lines.join(" ") : `This is a defect of oomkit: ${error.message}`;
  }
});

// One cell a version, coloured by what it would do.
function strip() {
  const colours = new Map();
  byId("strip").replaceChildren(...now.victims.map((one, i) => {
    const key = one.victim ?? "-";
    if (!colours.has(key)) colours.set(key, COLOURS[colours.size % COLOURS.length]);
    const svg = make("svg", { viewBox: "0 0 10 10", preserveAspectRatio: "none", class: i === now.at ? "here" : "" },
      make("rect", { width: 10, height: 10, fill: one.action === "panic" ? "#c62828" : colours.get(key) }),
      make("title", {}, `${now.versions[i].name}: ${one.victim ?? "-"}`));
    svg.addEventListener("click", () => { byId("kernel-version").value = i; choose(i); });
    return svg;
  }));
}

function choose(at) {
  now.at = at;
  version();
  strip();
  again(false);
}

function version() {
  const one = now.versions[now.at];
  byId("kernel-version").setAttribute("aria-valuetext", one.name);
  byId("version-name").textContent = `Linux ${one.name}${one.range === one.name ? "" : ` (${one.range})`} ${word("changes")}`;
  byId("version-what").replaceChildren(...one.what.map((what, i) => make("li", {}, what, one.meaning[i] ? make("span", { class: "dim" }, ` \u2013 ${one.meaning[i]}`) : null)));
}

function outcome() {
  const { action, victim } = now.found;
  const kind = action === "panic" ? "panic" : victim ? "kill" : "none";
  byId("outcome").textContent = word(kind, victim ?? "");
}

function draw() {
  const { found } = now;
  outcome();
  const marked = new Set(found.steps.map((step) => `${step.chart}/${step.row}`));
  const seen = new Set(found.steps.map((step) => step.chart));
  let kind = "";
  const parts = [];
  found.charts.forEach((chart, i) => {
    if (chart.kind !== kind) {
      kind = chart.kind;
      parts.push(make("section", { class: "stage", "aria-label": word(KINDS[kind]) }, make("h2", {}, word(KINDS[kind]))));
    }
    parts.at(-1).append(make("div", { class: `chart-of ${seen.has(i) ? "seen" : ""}`, "data-chart": i },
      make("h3", {}, make("code", {}, `${chart.function}()`)),
      chart.rows.length ? make("ol", { class: "rows" }, chart.rows.map((row, j) => make("li", { class: `${row.leads ? "question" : "action"} ${marked.has(`${i}/${j}`) ? "taken" : ""}`, "data-row": j },
        make("span", { class: "box" }, row.text[now.language]),
        row.leads ? make("span", { class: "leads" }, make("span", { class: "yes" }, word("yes")), make("span", { class: "exit" }, row.leads[now.language])) : null))) : null));
  });
  byId("flow").replaceChildren(...parts);
  terms();
  walk(0);
}

function terms() {
  const rows = now.found.terms;
  byId("terms").replaceChildren(...(rows.length ? [make("h2", {}, word("terms")),
    make("div", { class: "wide", tabindex: "0", role: "region", "aria-label": word("terms") }, make("table", {}, make("tbody", {}, rows.map((row, i) => make("tr", { class: i === rows.length - 1 ? "victim" : "" },
      make("th", { scope: "row" }, row.name), make("td", { class: "n name" }, row.value.toLocaleString("en")), make("td", {}, row.unit))))))] : []));
}

function walk(step) {
  const { steps } = now.found;
  now.step = Math.min(Math.max(step, 0), steps.length - 1);
  for (const one of byId("flow").querySelectorAll(".now")) one.classList.remove("now");
  const at = steps[now.step];
  if (!at) return;
  const chart = byId("flow").querySelector(`[data-chart="${at.chart}"]`);
  (at.row === null ? chart : chart.querySelector(`[data-row="${at.row}"]`)).classList.add("now");
  byId("step-text").textContent = `${word("step", now.step + 1, steps.length)}: ${at.text}`;
  byId("step-back").disabled = now.step === 0;
  byId("step-on").disabled = now.step === steps.length - 1;
}

function speak() {
  byId("page-mechanism").lang = now.language ? "zh-Hans" : "en";
  byId("mechanism-title").textContent = word("title");
  byId("mechanism-about").textContent = word("about");
  byId("version-label").textContent = word("version");
  byId("machine-label").textContent = word("machine");
  byId("asker-label").textContent = word("asker");
  byId("experiments-title").textContent = word("experiments");
  byId("language").textContent = word("switch");
  byId("language").lang = now.language ? "en" : "zh-Hans";
  byId("step-back").setAttribute("aria-label", word("back"));
  byId("step-on").setAttribute("aria-label", word("on"));
  if (byId("asker").options.length) byId("asker").options[0].textContent = word("unknown");
  byId("experiments").replaceChildren(...EXPERIMENTS.map(([file, title]) => make("li", {}, make("a", { class: "button", href: `#machine?file=${file}` }, title[now.language]))));
}

async function load(name) {
  now.name = name;
  now.asker = null;
  now.snapshot = await (await fetch(`examples/snapshots/${name}`)).text();
  await again();
  byId("asker").replaceChildren(make("option", { value: "" }, word("unknown")), ...(now.found ? now.found.tasks : []).map((task) => make("option", { value: task.pid }, `${task.comm}[${task.pid}]`)));
}

export function begin(examples) {
  byId("mechanism-snapshot").append(...examples.snapshots.map(({ file, title }) => make("option", { value: file }, title)));
  byId("mechanism-snapshot").addEventListener("change", (event) => load(event.target.value));
  byId("asker").addEventListener("change", (event) => { now.asker = event.target.value ? Number(event.target.value) : null; again(); });
  for (const id of ["mechanism-panic", "mechanism-asker", "mechanism-overcommit"]) byId(id).addEventListener("change", () => again());
  byId("kernel-version").addEventListener("input", (event) => choose(Number(event.target.value)));
  byId("step-back").addEventListener("click", () => walk(now.step - 1));
  byId("step-on").addEventListener("click", () => walk(now.step + 1));
  byId("language").addEventListener("click", () => {
    now.language = 1 - now.language;
    speak();
    if (now.versions.length) version();
    if (now.found) draw();
  });
  speak();
}

export async function show(query) {
  if (query.get("lang") === "zh" && !now.language) byId("language").click();
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
