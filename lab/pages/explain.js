import { byId, make, onDrop, save, shown } from "./dom.js";
import { ask, Faults, state } from "./python.js";

const PASTED = "pasted.log";
let running = 0;
let current = null;

function said(text, bad = false) {
  const place = byId("explain-said");
  place.textContent = text;
  place.classList.toggle("bad", bad);
}

function told(error) {
  said(error instanceof Faults ? error.lines.join(" ") : `This is a defect of oomkit: ${error.message}`, true);
}

async function explain(file) {
  running += 1;
  const mine = running;
  current = file;
  byId("explain-result").hidden = true;
  const size = file.size > 1e6 ? ` (${(file.size / 1e6).toFixed(1)} MB)` : "";
  said(state.now === "ready" ? `Reading ${file.name}${size}\u2026` : `${file.name}${size} is read as soon as Python is there\u2026`);
  try {
    const found = await ask("explain", { redact: byId("redact").checked }, file);
    if (mine === running) put(found, file);
  } catch (error) {
    if (mine === running) told(error);
  }
}

function put(found, file) {
  said(found.error ? found.error : "", Boolean(found.error));
  byId("explain-heading").textContent = found.title;
  const left = found.reports - found.shown;
  byId("explain-note").textContent = found.found
    ? `${file.name}: ${found.reports} ${found.reports === 1 ? "report" : "reports"}${left ? `, the newest ${found.shown} shown` : ""}`
    : `${file.name}: expected lines such as \u201cinvoked oom-killer\u201d and \u201cKilled process\u201d`;
  byId("explain-body").replaceChildren(...shown(found.body));
  byId("explain-result").hidden = false;
  document.documentElement.dataset.explained = file.name;
  byId("explain-heading").focus({ preventScroll: true });
  byId("explain-result").scrollIntoView({ block: "start" });
}

function pasted() {
  return new File([byId("log").value], PASTED);
}

export function begin(examples) {
  byId("explain-form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (byId("log").value.trim()) explain(pasted());
    else said("Paste a log first, or choose a file.", true);
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
  byId("log-examples").append(...examples.logs.map(({ file, title, about }) => make("li", {},
    make("button", { type: "button", onclick: () => example(file) },
      make("strong", {}, title), make("span", {}, about)))));
  onDrop(() => !byId("page-explain").hidden, explain);
}

async function example(name) {
  try {
    const got = await fetch(`examples/logs/${name}`);
    if (!got.ok) throw new Error(`${name}: ${got.status}`);
    const data = await got.arrayBuffer();
    const file = new File([data], name);
    byId("log").value = /\.(xz|gz|zst)$/.test(name) ? "" : new TextDecoder().decode(data);
    explain(file);
  } catch (error) {
    said(error.message, true);
  }
}

export function show() {}
