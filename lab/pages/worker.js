// Python in a thread of its own: it loads while the page is already usable, and answers one call
// after the other.
import { loadPyodide } from "./pyodide/pyodide.mjs";

const at = (name) => new URL(name, import.meta.url).href;
const FOLDER = "/log";
let place = 0;

async function load() {
  const archive = fetch(at("oomkit.zip")).then((got) => {
    if (!got.ok) throw new Error(`oomkit.zip: ${got.status}`);
    return got.arrayBuffer();
  });
  const pyodide = await loadPyodide({ indexURL: at("pyodide/") });
  postMessage({ state: "python" });
  pyodide.unpackArchive(await archive, "zip", { extractDir: "/lib/oomkit-lab" });
  pyodide.FS.mkdir(FOLDER);
  pyodide.runPython("import sys, os; sys.path.insert(0, '/lib/oomkit-lab')");
  const calls = pyodide.pyimport("oomkit.lab.calls");
  // What is loaded stays, and a run makes hardly a cycle: looking for them took a seventh of it.
  pyodide.runPython("import gc; gc.collect(); gc.freeze(); gc.set_threshold(100_000)");
  const place = pyodide.runPython("import oomkit.model.solve as solve; solve.__spec__.origin");
  postMessage({ state: "ready", model: place.endsWith(".so") ? "compiled" : "interpreted" });
  return { pyodide, call: calls.call };
}

const loaded = load();
loaded.catch((error) => postMessage({ state: "failed", error: String(error) }));

// The file is read where it lies: a log of 100 MB is not copied into Python's memory.
function mounted(pyodide, file) {
  if (place) pyodide.FS.unmount(`${FOLDER}/${place}`);
  place += 1;
  const folder = `${FOLDER}/${place}`;
  pyodide.FS.mkdir(folder);
  pyodide.FS.mount(pyodide.FS.filesystems.WORKERFS, { files: [file] }, folder);
  pyodide.FS.chdir(folder);
  return file.name === "-" ? "./-" : file.name; // a lone dash is standard input
}

async function answer({ id, name, given, file }) {
  try {
    const { pyodide, call } = await loaded;
    if (file) given = { ...given, path: mounted(pyodide, file) };
    const began = performance.now();
    const text = call(name, JSON.stringify(given));
    postMessage({ id, text, ms: performance.now() - began });
  } catch (error) {
    postMessage({ id, error: String(error && error.message || error) });
  }
}

let before = Promise.resolve();
onmessage = ({ data }) => { before = before.then(() => answer(data)); };
