import { charts } from "./charts.js";
import { byId, later, make, sortable } from "./dom.js";
import { ask, Faults, newest } from "./python.js";
import { inEnglish, language, t } from "./words.js";

const GIB = 1024;
const FIRST = "test1.toml";
const now = { file: FIRST, original: "", base: "", set: new Map(), policy: "", seed: 0, pinned: null };
let files = [];
let begun = false;
let kernels = [];
let policies = [];

function overrides(set = now.set) {
  return [...set].map(([key, value]) => `${key}=${value}`);
}

function said(text, bad = false) {
  byId("machine-said").textContent = text;
  byId("machine-said").classList.toggle("bad", bad);
}

// ---- the URL holds the scenario ----

async function packed(text) {
  const stream = new Blob([text]).stream().pipeThrough(new CompressionStream("deflate-raw"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  let raw = "";
  for (const byte of bytes) raw += String.fromCharCode(byte);
  return btoa(raw).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

async function unpacked(text) {
  const raw = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  const bytes = Uint8Array.from(raw, (character) => character.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"))).text();
}

async function remember() {
  const query = new URLSearchParams();
  if (now.base === now.original) query.set("file", now.file);
  else query.set("toml", await packed(now.base));
  for (const one of overrides()) query.append("set", one);
  if (now.policy) query.set("policy", now.policy);
  if (now.seed) query.set("seed", now.seed);
  if (now.pinned) {
    query.set("beside", JSON.stringify(now.pinned));
  }
  if (!byId("page-machine").hidden) history.replaceState(null, "", `#machine?${query}`);
}

async function recall(query) {
  now.set = new Map();
  for (const one of query.getAll("set")) {
    const cut = one.lastIndexOf("=");
    if (cut > 0) now.set.set(one.slice(0, cut), one.slice(cut + 1));
  }
  now.policy = query.get("policy") || "";
  now.seed = Math.max(0, Number.parseInt(query.get("seed") || "0", 10) || 0);
  try {
    now.pinned = query.has("beside") ? JSON.parse(query.get("beside")) : null;
  } catch {
    now.pinned = null;
  }
  const file = query.get("file");
  now.file = files.includes(file) ? file : FIRST;
  const got = await fetch(`examples/scenarios/${now.file}`);
  now.original = await got.text();
  now.base = now.original;
  if (query.has("toml")) {
    try {
      now.base = await unpacked(query.get("toml"));
    } catch {
      said(t("The link's scenario is damaged; the first one is shown instead."), true);
    }
  }
  byId("toml").value = now.base;
  byId("scenarios").value = now.file;
  byId("seed").value = now.seed;
  byId("policy").value = now.policy;
}

// ---- the form ----

const power = {
  text: (mb) => (mb >= GIB ? `${Number((mb / GIB).toPrecision(4))} GiB` : `${Math.round(mb)} MiB`),
  value: (mb) => (mb % GIB === 0 && mb > 0 ? `${mb / GIB}G` : `${Math.round(mb)}M`),
};

// Sizes that a slider stops at: 0, then eight to each doubling from 16 MiB to 256 GiB.
const SIZES = [0, ...Array.from({ length: 14 * 8 + 1 }, (_, i) => Math.round(16 * 2 ** (i / 8)))];

function nearest(mb) {
  let best = 0;
  SIZES.forEach((size, i) => { if (Math.abs(size - mb) < Math.abs(SIZES[best] - mb)) best = i; });
  return best;
}

function slider(label, key, mb, least) {
  const id = `knob-${key}`;
  const shown = make("output", { for: id }, power.text(mb));
  const input = make("input", { id, type: "range", min: least, max: SIZES.length - 1, value: nearest(mb), "aria-valuetext": power.text(mb) });
  input.addEventListener("input", () => {
    const size = SIZES[input.value];
    shown.textContent = power.text(size);
    input.setAttribute("aria-valuetext", power.text(size));
    set(key, power.value(size));
  });
  return make("div", { class: "knob" }, make("label", { for: id }, label), input, shown);
}

function whole(label, key, value, min, max) {
  const id = `knob-${key}`;
  const shown = make("output", { for: id }, String(value));
  const input = make("input", { id, type: "range", min, max, value });
  input.addEventListener("input", () => {
    shown.textContent = input.value;
    set(key, input.value);
  });
  return make("div", { class: "knob" }, make("label", { for: id }, label), input, shown);
}

function choice(label, key, value, given) {
  const id = `knob-${key}`;
  const select = make("select", { id }, given.map(([name, words]) => make("option", { value: name, selected: String(name) === String(value) }, words)));
  select.addEventListener("change", () => set(key, select.value));
  return make("div", { class: "knob" }, make("label", { for: id }, label), select);
}

const OVERCOMMIT = ["guess", "always", "never beyond the limit"];
const SWITCH = ["off", "on"];
const PANIC = ["kill", "panic", "panic, in cgroups too"];
const options = (names) => names.map((name, i) => [i, `${i}: ${t(name)}`]);

function form(made) {
  const vm = (name, other) => made.vm[name] ?? other;
  const releases = kernels.includes(made.kernel) ? kernels : [made.kernel, ...kernels];
  const parts = [
    slider(t("RAM"), "machine.ram", made.ram_mb, 1),
    slider(t("Swap"), "machine.swap", made.swap_mb, 0),
    choice(t("Kernel"), "machine.kernel", made.kernel, releases.map((one) => [one, one])),
    choice("overcommit_memory", "vm.overcommit_memory", vm("overcommit_memory", 0), options(OVERCOMMIT)),
    whole("overcommit_ratio", "vm.overcommit_ratio", vm("overcommit_ratio", 50), 0, 200),
    whole("swappiness", "vm.swappiness", vm("swappiness", 60), 0, 200),
    choice("panic_on_oom", "vm.panic_on_oom", vm("panic_on_oom", 0), options(PANIC)),
    choice("oom_kill_allocating_task", "vm.oom_kill_allocating_task", vm("oom_kill_allocating_task", 0), options(SWITCH)),
  ];
  for (const one of made.cgroups.filter((group) => group.max_mb !== null)) {
    parts.push(slider(`cgroup ${one.name} max`, `cgroup.${one.name}.max`, one.max_mb, 1));
    if (one.high_mb !== null) parts.push(slider(`cgroup ${one.name} high`, `cgroup.${one.name}.high`, one.high_mb, 1));
  }
  const seen = new Set();
  for (const task of made.tasks) {
    if (seen.has(task.name)) continue;
    seen.add(task.name);
    const times = task.count > 1 ? ` (${task.count})` : "";
    if (task.oom_adj === null) parts.push(whole(`${task.name}${times} oom_score_adj`, `task.${task.name}.oom_score_adj`, task.oom_score_adj, -1000, 1000));
    else parts.push(whole(`${task.name}${times} oom_adj`, `task.${task.name}.oom_adj`, task.oom_adj, -17, 15));
  }
  byId("knobs").replaceChildren(...parts);
}

// At once: while a run is played, only the newest of the changes that come waits.
function set(key, value) {
  now.set.set(key, value);
  play();
}

// ---- playing ----

const play = newest(async () => {
  const text = now.base;
  const given = { text, overrides: overrides(), policy: now.policy || null, seed: now.seed };
  remember();
  const line = command();
  const began = performance.now();
  try {
    // All are asked before any is awaited: the picture comes first, the rest and the form after it.
    const playing = now.pinned
      ? ask("compare", { text, sides: [now.pinned, given].map(({ overrides: changed, policy }) => ({ overrides: changed, policy })), seed: now.seed, language: language() })
      : ask("play", { ...given, language: language() });
    const detailing = ask("details", { language: language() });
    const reading = ask("scenario", { text, overrides: given.overrides });
    detailing.catch(() => {}); // what is wrong with the scenario is said by the first answer, too
    reading.catch(() => {});
    const answer = await playing;
    const runs = answer.runs ?? [answer];
    if (answer.rows) compared(answer.rows);
    else byId("machine-compare").replaceChildren();
    byId("faults").replaceChildren();
    byId("toml").removeAttribute("aria-invalid");
    byId("runs").classList.toggle("two", runs.length > 1);
    const panels = runs.map((run, i) => panel(run, runs.length > 1 ? [t("Kept"), t("Now")][i] : ""));
    byId("runs").replaceChildren(...panels);
    said(t("Played in {} ms.", Math.round(performance.now() - began)));
    (await detailing).forEach((rest, i) => panels[i].append(...details(runs[i], rest)));
    const made = await reading;
    if (!byId("knobs").contains(document.activeElement)) form(made);
    if (document.activeElement !== byId("toml")) byId("toml").value = made.text;
    document.documentElement.dataset.played = line;
  } catch (error) {
    if (error instanceof Faults) {
      byId("faults").replaceChildren(...error.lines.map((one) => make("li", {}, one)));
      byId("toml").setAttribute("aria-invalid", "true");
      said(t("The scenario can't be played as it is; the last run is still shown."), true);
    } else {
      said(t("This is a defect of oomkit: {}", error.message), true);
    }
  }
});

function command() {
  const words = ["oomkit run", now.base === now.original ? `scenarios/${now.file}` : "mine.toml"];
  words.push(...overrides().map((one) => `--set ${one.includes(" ") ? `'${one}'` : one}`));
  if (now.policy) words.push(`--policy ${now.policy}`);
  if (now.seed) words.push(`--seed ${now.seed}`);
  byId("command").textContent = words.join(" ");
  return words.join(" ");
}

// ---- policies against each other ----

let asked = 0;

async function against() {
  asked += 1;
  const mine = asked;
  const given = { text: now.base, overrides: overrides(), seed: now.seed };
  const place = byId("machine-policies");
  const rows = [];
  place.hidden = false;
  for (const name of ["", ...policies]) {
    said(t("Playing {}\u2026", name || t("the kernel alone")));
    let row;
    try {
      row = await ask("outcome", { ...given, policy: name || null, language: language() });
    } catch (error) {
      row = { failed: error instanceof Faults ? error.lines.join(" ") : error.message };
    }
    if (mine !== asked) return;
    rows.push([name, row]);
    const whole = rows.filter(([, one]) => !one.failed);
    const columns = [["policy", ""], ["outcome", ""], ["ended", ""], ...(whole.length ? whole[0][1].fields : []).map((field) => [field, "n"]), ["killed", ""]];
    place.replaceChildren(
      make("h2", {}, t("Policies against each other")),
      sortable(t("Policies against each other"), columns.map(([field, css]) => ({ name: field, number: css === "n" || field === "ended" })), whole.map(([policy, one]) => [
        { value: policy || "", text: policy || t("the kernel alone"), pick: () => pick(policy) },
        { value: one.outcome, text: one.outcome, css: one.good ? "good" : "bad" },
        { value: one.ended[0], text: one.ended[1] },
        ...one.figures.map(([value, text]) => ({ value, text })),
        { value: one.killed, text: one.killed },
      ])),
      ...rows.filter(([, one]) => one.failed).map(([policy, one]) => make("p", { class: "said bad" }, `${policy}: ${one.failed}`)));
  }
  said("");
  document.documentElement.dataset.against = String(rows.length);
}

function pick(policy) {
  now.policy = policy;
  byId("policy").value = policy;
  play();
}

const VERDICTS = { better: "better", worse: "worse", same: "", other: "differs" };

function compared(rows) {
  byId("machine-compare").replaceChildren(
    make("h2", {}, t("Side by side")),
    make("div", { class: "wide", tabindex: "0", role: "region", "aria-label": t("Side by side") }, make("table", {},
      make("thead", {}, make("tr", {}, ["figure", "kept", "now", "verdict"].map((one) => make("th", { scope: "col" }, t(one))))),
      make("tbody", {}, rows.map((row) => make("tr", { class: row.verdict }, make("th", { scope: "row" }, t(row.field)), make("td", {}, row.left), make("td", {}, row.right), make("td", { class: "verdict" }, t(VERDICTS[row.verdict]))))))),
  );
}

function panel(run, name) {
  const heading = make("h2", {}, name ? `${name}: ` : "", make("span", inEnglish(run.title), run.title));
  const facts = make("p", { class: "facts" }, make("span", { class: `badge ${run.good ? "completed" : "bad"}` }, run.outcome),
    ` ${t("after {}, kernel {}", run.ended, run.kernel)}${run.policy ? `, ${t("policy")} ${run.policy}` : ""}: `, make("span", inEnglish(run.end), run.end));
  const figures = make("dl", { class: "objectives" }, run.objectives.map(([field, value, meaning]) => make("div", {}, make("dt", {}, t(field)), make("dd", {}, value), make("dd", { class: "meaning", ...inEnglish(meaning) }, meaning))));
  const events = make("ol", { class: "events" }, run.events.map((one) => make("li", { class: one.kind },
    make("span", { class: "time" }, `${one.t_s.toFixed(1)} s`),
    make("div", {}, make("span", { class: "what", ...inEnglish(one.what) }, one.what), ...one.why.map((why) => make("p", { class: "dim", ...inEnglish(why) }, why))))));
  return make("section", { class: "run", "aria-label": name || t("run") }, heading, facts, figures, charts(run),
    make("h3", {}, t("What happened")), events);
}

// What stands below the picture, and comes once that is on the screen.
function details(run, rest) {
  const traces = run.kills.length
    ? [make("h3", {}, t("Kills and their traces")), ...run.kills.slice(0, 50).map((kill, i) => make("details", { class: "trace" },
      make("summary", {}, t("{}: {} {}, badness {}, frees {}", kill.at, kill.what, kill.victim, kill.badness, kill.frees)),
      make("ol", {}, rest.traces[i].map((step) => make("li", inEnglish(step), step)))))]
    : [];
  if (run.kills.length > 50) traces.push(make("p", { class: "dim" }, t("{} more kills are not listed.", run.kills.length - 50)));
  const log = rest.log.length
    ? make("details", {}, make("summary", {}, t("The kernel's log, {} lines", rest.log.length + rest.log_left_out)), make("pre", { tabindex: "0", role: "region", "aria-label": t("Kernel log"), ...inEnglish("") }, rest.log.join("\n")))
    : make("p", { class: "dim" }, t("The kernel logged nothing."));
  return [...traces, make("h3", {}, t("Kernel log")), log];
}

// ---- the page ----

async function choose(file) {
  await recall(new URLSearchParams({ file }));
  byId("knobs").replaceChildren();
  play();
}

export function begin(examples) {
  files = examples.scenarios;
  byId("scenarios").append(...files.map((file) => make("option", { value: file }, file.replace(/\.toml$/, ""))));
  byId("scenarios").addEventListener("change", (event) => choose(event.target.value));
  byId("toml").addEventListener("input", later(250, () => {
    // What is typed is the scenario from now on, with all changes that it shows.
    now.base = byId("toml").value;
    now.set = new Map();
    now.pinned = null;
    pin(false);
    play();
  }));
  byId("policy").addEventListener("change", (event) => { now.policy = event.target.value; play(); });
  byId("seed").addEventListener("input", later(250, () => { now.seed = Math.max(0, Number.parseInt(byId("seed").value, 10) || 0); play(); }));
  byId("knobs").addEventListener("submit", (event) => event.preventDefault());
  byId("against").addEventListener("click", against);
  byId("reset").addEventListener("click", () => choose(now.file));
  byId("pin").addEventListener("click", () => {
    now.pinned = now.pinned ? null : { overrides: overrides(), policy: now.policy || null };
    pin(Boolean(now.pinned));
    play();
  });
}

function pin(on) {
  byId("pin").setAttribute("aria-pressed", String(on));
  byId("pin").textContent = on ? t("Let the kept run go") : t("Keep this run beside");
}

export async function show(query) {
  if (begun && ![...query].length) return;
  const first = !begun;
  begun = true;
  await recall(query);
  pin(Boolean(now.pinned));
  if (first) {
    const [names, releases] = await Promise.all([ask("policies"), ask("kernels")]);
    kernels = releases;
    policies = names;
    byId("policy").append(...names.map((name) => make("option", { value: name, selected: name === now.policy }, name)));
  }
  play();
}

// The interface in the other language, with what is shown.
export function speak() {
  pin(Boolean(now.pinned));
  if (!begun) return;
  byId("machine-policies").hidden = true;
  byId("knobs").replaceChildren();
  play();
}
