// The page's side of the worker: a question goes in, a promise of its answer comes out.

export class Faults extends Error {
  constructor(lines) {
    super(lines.join("\n"));
    this.lines = lines;
  }
}

const waiting = new Map();
const watchers = [];
let worker = null;
let last = 0;
export const state = { now: "loading" };

export function watch(told) {
  watchers.push(told);
  told(state.now);
}

function become(now, error) {
  state.now = now;
  state.error = error;
  watchers.forEach((told) => told(now));
}

function took({ data }) {
  if (data.state) {
    if (data.model) document.documentElement.dataset.model = data.model;
    become(data.state, data.error);
    return;
  }
  const asked = waiting.get(data.id);
  waiting.delete(data.id);
  if (data.error) {
    asked.refuse(new Error(data.error));
    return;
  }
  const { answer, faults } = JSON.parse(data.text);
  if (faults) asked.refuse(new Faults(faults));
  else asked.accept(answer);
}

export function start() {
  if (worker) return;
  worker = new Worker("worker.js", { type: "module" });
  worker.onmessage = took;
  worker.onerror = (event) => become("failed", event.message || "the worker could not be started");
}

export function ask(name, given = {}, file = null) {
  start();
  last += 1;
  const id = last;
  return new Promise((accept, refuse) => {
    waiting.set(id, { accept, refuse });
    worker.postMessage({ id, name, given, file });
  });
}

// Whether an answer is awaited.
export const asking = () => waiting.size > 0;

// Of questions that come faster than answers, only the newest waits.
export function newest(work) {
  let running = false;
  let next = null;
  return async function again(...given) {
    if (running) {
      next = given;
      return;
    }
    running = true;
    try {
      await work(...given);
    } finally {
      running = false;
      if (next) {
        const then = next;
        next = null;
        again(...then);
      }
    }
  };
}
