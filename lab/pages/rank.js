import { byId, later, make, onDrop, shown } from "./dom.js";
import { ask, Faults, newest } from "./python.js";
import { t } from "./words.js";

const now = { text: "", name: "", set: new Map(), kernel: "", memcg: "", why: null };
let kernels = [];
let about = {};
let snapshots = [];
let begun = false;

function said(text, bad = false) {
  byId("rank-said").textContent = text;
  byId("rank-said").classList.toggle("bad", bad);
}

const settings = () => [...now.set].map(([pid, adj]) => `task.${pid}.oom_score_adj=${adj}`);

const again = newest(async () => {
  try {
    const found = await ask("rank", { snapshot: now.text, settings: settings(), kernel: now.kernel || null, memcg: now.memcg || null, why: now.why });
    put(found);
    said("");
  } catch (error) {
    said(error instanceof Faults ? error.lines.join(" ") : t("This is a defect of oomkit: {}", error.message), true);
  }
});
const soon = later(80, () => again());

function put(found) {
  const victims = new Set(found.victims);
  byId("rank-html").replaceChildren(...shown(found.html));
  byId("rank-result").hidden = false;
  if (!byId("rank-kernel").options.length) {
    byId("rank-kernel").append(make("option", { value: "" }, t("{} (the snapshot's)", found.kernel)), ...kernels.map((one) => make("option", { value: one }, one)));
    byId("rank-memcg").append(make("option", { value: "" }, t("the machine")), ...found.memcgs.map((path) => make("option", { value: path }, path)));
  }
  const table = byId("adjust");
  const active = document.activeElement;
  if (table.contains(active) && active.type === "range") update(found, victims);
  else table.replaceChildren(...found.tasks.map((task) => row(task, victims)));
  byId("rank-why").hidden = !found.why;
  byId("rank-why").replaceChildren(...(found.why ? [make("h2", {}, t("Process {}", now.why)), ...shown(found.why)] : []));
  const words = ["oomkit rank --from", now.name, ...settings().map((one) => `--set ${one}`)];
  if (now.kernel) words.push(`--kernel ${now.kernel}`);
  if (now.memcg) words.push(`--cgroup ${now.memcg}`);
  byId("rank-command").textContent = words.join(" ");
  document.documentElement.dataset.ranked = found.victims.join(",") || found.action;
}

// While a slider is held its row has to stay where it is.
function update(found, victims) {
  const known = new Map(found.tasks.map((task) => [String(task.pid), task]));
  for (const line of byId("adjust").rows) {
    const task = known.get(line.dataset.pid);
    if (!task) continue;
    line.cells[0].textContent = task.rank ?? "-";
    line.cells[2].textContent = task.badness ?? "-";
    line.classList.toggle("victim", victims.has(task.pid));
  }
}

function row(task, victims) {
  const shownAdj = make("output", {}, String(task.oom_score_adj));
  const input = make("input", { type: "range", min: -1000, max: 1000, value: task.oom_score_adj, "aria-label": t("oom_score_adj of {}", `${task.comm}[${task.pid}]`) });
  input.addEventListener("input", () => {
    shownAdj.textContent = input.value;
    now.set.set(task.pid, input.value);
    soon();
  });
  input.addEventListener("change", () => { input.blur(); again(); });
  return make("tr", { "data-pid": task.pid, class: victims.has(task.pid) ? "victim" : "" },
    make("td", { class: "n" }, String(task.rank ?? "-")),
    make("td", { class: "name" }, `${task.comm}[${task.pid}]`, task.reason ? make("span", { class: "dim" }, ` ${task.reason}`) : null),
    make("td", { class: "n" }, String(task.badness ?? "-")),
    make("td", { class: "adj" }, input, shownAdj),
    make("td", {}, make("button", { type: "button", "aria-label": `${t("why?")} ${task.comm}[${task.pid}]`, onclick: () => { now.why = task.pid; again().then(() => byId("rank-why").scrollIntoView({ block: "nearest" })); } }, t("why?"))));
}

async function take(text, name) {
  Object.assign(now, { text, name, set: new Map(), kernel: "", memcg: "", why: null });
  byId("rank-kernel").replaceChildren();
  byId("rank-memcg").replaceChildren();
  byId("rank-result").hidden = true;
  said(t("Ranking\u2026"));
  if (!kernels.length) kernels = await ask("kernels");
  again();
}

async function fetched(path, name) {
  try {
    const got = await fetch(path);
    const text = await got.text();
    if (!got.ok) throw new Error(text);
    take(text, name);
  } catch (error) {
    said(error.message, true);
  }
}

export function begin(examples, site) {
  about = site;
  byId("live").hidden = !about.live;
  byId("live").addEventListener("click", () => fetched("live/snapshot.json", "here.json"));
  byId("snapshot").addEventListener("change", async (event) => {
    const [file] = event.target.files;
    if (file) take(await file.text(), file.name);
    event.target.value = "";
  });
  snapshots = examples.snapshots;
  speak();
  byId("rank-kernel").addEventListener("change", (event) => { now.kernel = event.target.value; again(); });
  byId("rank-memcg").addEventListener("change", (event) => { now.memcg = event.target.value; again(); });
  byId("rank-reset").addEventListener("click", () => take(now.text, now.name));
  onDrop(() => !byId("page-rank").hidden, async (file) => take(await file.text(), file.name));
}

export function show() {
  if (begun) return;
  begun = true;
  if (about.live) fetched("live/snapshot.json", "here.json");
}

export function speak() {
  byId("snapshot-examples").replaceChildren(...snapshots.map(({ file, title }) => make("button", { type: "button", onclick: () => fetched(`examples/snapshots/${file}`, file) }, t(title))));
  if (!now.text) return;
  byId("rank-kernel").replaceChildren();
  byId("rank-memcg").replaceChildren();
  now.kernel = "";
  now.memcg = "";
  again();
}
