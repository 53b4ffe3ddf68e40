import { byId, make, onDrop, save, shown, sortable } from "./dom.js";
import { ask, Faults, state } from "./python.js";
import { t } from "./words.js";

const PASTED = "pasted.log";
let running = 0;
let current = null;
let reports = [];

function said(text, bad = false) {
  const place = byId("explain-said");
  place.textContent = text;
  place.classList.toggle("bad", bad);
}

function told(error) {
  said(error instanceof Faults ? error.lines.join(" ") : t("This is a defect of oomkit: {}", error.message), true);
}

async function explain(file, { quiet = false } = {}) {
  running += 1;
  const mine = running;
  current = file;
  byId("explain-result").hidden = !quiet;
  const size = file.size > 1e6 ? ` (${(file.size / 1e6).toFixed(1)} MB)` : "";
  said(state.now === "ready" ? t("Reading {}\u2026", file.name + size) : t("{} is read as soon as Python is there\u2026", file.name + size));
  try {
    const found = await ask("explain", { redact: byId("redact").checked }, file);
    if (mine === running) put(found, file, quiet);
  } catch (error) {
    if (mine === running) told(error);
  }
}

function put(found, file, quiet) {
  said(found.error ? found.error : "", Boolean(found.error));
  byId("explain-heading").textContent = found.title;
  const left = found.reports - found.shown;
  byId("explain-note").textContent = found.found
    ? `${file.name}: ${t(found.reports === 1 ? "{} report" : "{} reports", found.reports)}${left ? `, ${t("the newest {} shown", found.shown)}` : ""}`
    : `${file.name}: ${t("expected lines such as \u201cinvoked oom-killer\u201d and \u201cKilled process\u201d")}`;
  byId("explain-body").replaceChildren(...shown(found.body));
  [...byId("explain-body").querySelectorAll("details.report")].forEach((one, i) => one.append(parts(left + i + 1)));
  byId("explain-result").hidden = false;
  document.documentElement.dataset.explained = file.name;
  if (quiet) return;
  byId("explain-heading").focus({ preventScroll: true });
  byId("explain-result").scrollIntoView({ block: "start" });
}

// What stands below a report: made when it is unfolded, since a long log has many.
function parts(number) {
  const place = make("div", { class: "parts" });
  const folded = (title, fill) => {
    const inside = make("div");
    const details = make("details", { class: "part" }, make("summary", {}, title), inside);
    details.addEventListener("toggle", async () => {
      if (!details.open || inside.hasChildNodes()) return;
      try {
        inside.replaceChildren(...fill(await detail(number)));
        document.documentElement.dataset.part = `${number} ${details.className}`;
      } catch (error) {
        inside.replaceChildren(make("p", { class: "said bad" }, error instanceof Faults ? error.lines.join(" ") : error.message));
      }
    });
    return details;
  };
  place.append(
    folded(t("All processes of the report, to be sorted"), processes),
    folded(t("The report's own lines, each field explained"), lines),
  );
  return place;
}

let details = new Map();
let detailsOf = null;

function detail(number) {
  if (detailsOf !== current) {
    details = new Map();
    detailsOf = current;
  }
  if (!details.has(number)) details.set(number, ask("explain_detail", { number }));
  return details.get(number);
}

function processes({ processes: { columns, rows } }) {
  if (!rows.length) return [make("p", {}, t("The report has no task table."))];
  const note = columns.findIndex(([name]) => name === "note");
  const CSS = { killed: "killed", asked: "asked" };
  return [
    make("p", { class: "dim" }, t("{} processes, as the kernel printed them. A column's name sorts by it.", rows.length)),
    sortable(t("Processes"), columns.map(([name, kernel, number]) => ({ name, title: kernel || undefined, number })), rows.map((row) => {
      const made = row.map(([value, text]) => ({ value, text: text && CSS[text] ? t(text) : text }));
      made.css = CSS[row[note][1]] || "";
      return made;
    })),
  ];
}

const PARTS = [
  ["request", "The request"], ["hardware", "Hardware and call trace"], ["memory", "Memory of the machine"],
  ["memcg", "The memory cgroup"], ["tasks", "The task table"], ["decision", "The decision and the kill"],
];

// A block of lines is one stop of the keyboard; arrows go from field to field in it.
function lines({ lines: all, lines_left_out: left, redacted, meanings }) {
  if (redacted) return [make("p", {}, t("Names were replaced by tokens; the log's own lines hold them and are not shown."))];
  const made = PARTS.filter(([part]) => all.some(([, one]) => one === part)).map(([part, title]) => {
    const readout = make("div", { class: "meaning-now", role: "status" }, t("Point at a field, or go from one to the next with the arrow keys."));
    const fields = [];
    const rows = all.filter(([, one]) => one === part).map(([number, , pieces]) => make("div", { class: "logline" },
      make("span", { class: "lineno", "aria-hidden": "true" }, String(number)),
      make("code", {}, pieces.map(([text, field, size]) => {
        if (!field) return text;
        const one = make("span", { class: "field" }, text);
        one.about = [field, text, size];
        fields.push(one);
        return one;
      }))));
    let at = -1;
    const go = (to, scroll) => {
      if (!fields[to]) return;
      fields[at]?.classList.remove("now");
      at = to;
      fields[at].classList.add("now");
      if (scroll) fields[at].scrollIntoView({ block: "nearest", inline: "nearest" });
      readout.replaceChildren(...meaning(fields[at].about, meanings));
    };
    const block = make("div", { class: "loglines", tabindex: "0", role: "region", "aria-label": t(title) }, rows);
    const pointed = (event) => { if (event.target.about) go(fields.indexOf(event.target), false); };
    block.addEventListener("pointerover", pointed);
    block.addEventListener("click", pointed);
    block.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      go(Math.min(Math.max(at + step, 0), fields.length - 1), true);
    });
    return make("section", { class: "logpart" }, make("h3", {}, t(title)), readout, block, glossary(part, title, meanings));
  });
  if (left) made.push(make("p", { class: "dim" }, t("{} more lines are not shown.", left)));
  return made;
}

function meaning([field, text, size], meanings) {
  const [name, unit, said, source] = meanings[field];
  return [make("strong", {}, text.trim()), size ? ` = ${size}` : "", make("span", { lang: "en" }, ` \u2013 ${name}${unit ? ` (${t(unit)})` : ""}: ${said} `), make("small", {}, source)];
}

function glossary(part, title, meanings) {
  const rows = Object.entries(meanings).filter(([key]) => key.startsWith(`${part}/`)).map(([, [name, unit, said, source]]) => make("tr", {},
    make("th", { scope: "row" }, make("code", {}, name)), make("td", {}, t(unit)), make("td", { lang: "en" }, said), make("td", {}, make("small", {}, source))));
  if (!rows.length) return null;
  return make("details", { class: "glossary" }, make("summary", {}, t("What these {} fields mean", rows.length)),
    make("div", { class: "wide", tabindex: "0", role: "region", "aria-label": `${t(title)}: ${t("fields")}` }, make("table", { class: "fields" },
      make("thead", {}, make("tr", {}, ["field", "unit", "meaning", "in the kernel"].map((one) => make("th", { scope: "col" }, t(one))))), make("tbody", {}, rows))));
}

function pasted() {
  return new File([byId("log").value], PASTED);
}

export function begin(examples) {
  byId("explain-form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (byId("log").value.trim()) explain(pasted());
    else said(t("Paste a log first, or choose a file."), true);
  });
  byId("log").addEventListener("paste", () => setTimeout(() => explain(pasted())));
  byId("file").addEventListener("change", (event) => {
    const [file] = event.target.files;
    if (file) explain(file);
    event.target.value = "";
  });
  byId("redact").addEventListener("change", () => { if (current) explain(current); });
  byId("print").addEventListener("click", () => print());
  const saving = (id, call, name, type) => byId(id).addEventListener("click", async () => {
    try {
      save(name, await ask(call), type);
    } catch (error) {
      told(error);
    }
  });
  saving("save-page", "explain_page", "oom.html", "text/html");
  saving("save-json", "explain_records", "oom.jsonl", "application/jsonl");
  reports = examples.logs;
  speak();
  onDrop(() => !byId("page-explain").hidden, (file) => explain(file));
}

async function example(name) {
  try {
    const got = await fetch(`examples/logs/${name}`);
    if (!got.ok) throw new Error(`${name}: ${got.status}`);
    const data = await got.arrayBuffer();
    const file = new File([data], name);
    byId("log").value = /\.(xz|gz|bz2|zst)$/.test(name) ? "" : new TextDecoder().decode(data);
    explain(file);
  } catch (error) {
    said(error.message, true);
  }
}

export function show() {}

export function speak() {
  byId("log-examples").replaceChildren(...reports.map(({ file, title, about }) => make("li", {},
    make("button", { type: "button", onclick: () => example(file) },
      make("strong", {}, t(title)), make("span", {}, t(about))))));
  if (current && state.now === "ready") explain(current, { quiet: true });
}
