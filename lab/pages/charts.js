// Curves of a run as SVG. Everything drawn comes from rows that oomkit made.
import { make } from "./dom.js";
import { inEnglish, t } from "./words.js";

const WIDTH = 720;
const LEFT = 52;
const RIGHT = 8;
const TOP = 16;
const BOTTOM = 22;

function ticks(end, most = 6) {
  const rough = end / most || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough);
  const found = [];
  for (let at = 0; at <= end * 1.0001; at += step) found.push(at);
  return found;
}

function number(value) {
  if (value >= 10_000) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(4)));
}

function frame(height, end, top, unit) {
  const x = (at) => LEFT + (at / end) * (WIDTH - LEFT - RIGHT);
  const y = (value) => TOP + (1 - Math.min(value / top, 1.02)) * (height - TOP - BOTTOM);
  const axes = make("g", { class: "axes", "aria-hidden": "true" });
  for (const value of ticks(top, height < 130 ? 2 : 4)) {
    axes.append(
      make("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }),
      make("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, number(value)),
    );
  }
  for (const at of ticks(end)) {
    axes.append(make("text", { x: Math.min(x(at), WIDTH - RIGHT - 8), y: height - 6, "text-anchor": "middle" }, number(at)));
  }
  axes.append(make("text", { x: LEFT - 6, y: 7, "text-anchor": "end", class: "unit" }, unit));
  return { x, y, axes };
}

const line = (points) => points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

function marks(run, place, height) {
  const found = make("g", {});
  for (const freeze of run.freezes) {
    const from = place.x(freeze.t);
    found.append(make("rect", { class: "freeze", x: from, width: Math.max(place.x(freeze.until) - from, 1), y: TOP, height: height - TOP - BOTTOM },
      make("title", {}, t("unusable for {}", freeze.lasted))));
  }
  for (const kill of run.kills) {
    const at = place.x(kill.t);
    found.append(make("line", { class: "kill", x1: at, x2: at, y1: TOP, y2: height - BOTTOM }),
      make("path", { class: "kill", d: `M${at - 5} ${TOP - 7}h10l-5 8z` }, make("title", {}, `${kill.at}: ${kill.what} ${kill.victim}`)));
  }
  return found;
}

// An upright line follows the pointer; the values below it stand under the chart.
function pointed(svg, times, place, height, words, readout) {
  const rule = make("line", { class: "pointer", y1: TOP, y2: height - BOTTOM, visibility: "hidden" });
  svg.append(rule);
  svg.addEventListener("pointermove", (event) => {
    if (!times.length) return;
    const box = svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * WIDTH;
    let best = 0;
    times.forEach((t, i) => {
      if (Math.abs(place.x(t) - x) < Math.abs(place.x(times[best]) - x)) best = i;
    });
    rule.setAttribute("visibility", "visible");
    rule.setAttribute("x1", place.x(times[best]));
    rule.setAttribute("x2", place.x(times[best]));
    readout.textContent = `${number(times[best])} s: ${words(best)}`;
  });
  svg.addEventListener("pointerleave", () => {
    rule.setAttribute("visibility", "hidden");
    readout.textContent = "";
  });
}

function legend(colours) {
  return make("ul", { class: "legend" }, Object.entries(colours).map(([name, colour]) => make("li", {},
    make("svg", { class: "swatch", viewBox: "0 0 10 10", "aria-hidden": "true" }, make("rect", { width: 10, height: 10, fill: colour })), name)));
}

function figure(title, note, label, height, fill) {
  const svg = make("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": `${title}. ${label}` });
  const readout = make("p", { class: "readout", "aria-hidden": "true" });
  const colours = fill(svg, readout);
  return make("figure", {}, make("figcaption", {}, make("strong", {}, title), " ", make("span", {}, note)),
    legend(colours), svg, readout);
}

const curve = (place, times, values) => line(times.map((t, i) => [place.x(t), place.y(values[i])]));

function drawn(svg, place, name, times, values, stroke, css = "") {
  svg.append(make("path", { class: `curve ${css}`, stroke, d: curve(place, times, values) }, make("title", {}, name)));
}

function grouped(rows, key) {
  const groups = new Map();
  for (const row of rows) groups.set(row[key], [...(groups.get(row[key]) || []), row]);
  return groups;
}

const MIB = "MiB";
const most = (values) => values.reduce((a, b) => Math.max(a, b), 0);

export function charts(run) {
  const found = [];
  const { memory, tasks, cgroups, pressure } = run;
  const label = t("{} kills; {} after {}. What happened stands below in words.", run.kills.length, run.outcome, run.ended);
  if (!memory.t.length) return found;
  const uses = Object.keys(memory.uses);
  found.push(figure(t("Memory by use"), t("all of memory, stacked"), label, 210, (svg, readout) => {
    const place = frame(210, run.end_s, memory.total_mb, MIB);
    svg.append(place.axes);
    let below = memory.t.map(() => 0);
    for (const use of uses) {
      const above = below.map((low, i) => low + memory.uses[use][i]);
      const edge = (values) => memory.t.map((at, i) => [place.x(at), place.y(values[i])]);
      svg.append(make("path", { class: "area", fill: memory.colours[use], d: `${line([...edge(above), ...edge(below).reverse()])}Z` }, make("title", {}, t(use))));
      below = above;
    }
    svg.append(marks(run, place, 210));
    pointed(svg, memory.t, place, 210, (i) => uses.map((use) => `${t(use)} ${number(memory.uses[use][i])} MiB`).join(", "), readout);
    return Object.fromEntries(uses.map((use) => [t(use), memory.colours[use]]));
  }));
  if (memory.swap_mb > 0) {
    found.push(figure(t("Swap used"), t("the axis ends where swap does"), label, 96, (svg, readout) => {
      const place = frame(96, run.end_s, memory.swap_mb, MIB);
      const floor = place.y(0);
      const area = `M${place.x(memory.t[0]).toFixed(1)} ${floor}L${curve(place, memory.t, memory.swap).slice(1)}L${place.x(memory.t.at(-1)).toFixed(1)} ${floor}Z`;
      svg.append(place.axes, make("path", { class: "area", fill: "#cc79a7", d: area }), marks(run, place, 96));
      pointed(svg, memory.t, place, 96, (i) => `${t("Swap used")} ${number(memory.swap[i])} MiB`, readout);
      return { [t("Swap used")]: "#cc79a7" };
    }));
  }
  const swaps = tasks.curves.some((one) => one.swap.length);
  const top = Math.max(1, ...tasks.curves.map((one) => Math.max(most(one.rss), most(one.swap))));
  const notes = [swaps ? t("resident, its swap dashed") : t("resident")];
  if (tasks.left_out) notes.push(t("{} smaller tasks are not drawn", tasks.left_out));
  found.push(figure(t("Memory of each task"), notes.join("; "), label, 190, (svg) => {
    const place = frame(190, run.end_s, top * 1.05, MIB);
    svg.append(place.axes);
    for (const one of tasks.curves) {
      const colour = tasks.colours[one.name] || "#888888";
      if (one.swap.length) drawn(svg, place, one.task, one.t, one.swap, colour, "dashed");
      drawn(svg, place, one.task, one.t, one.rss, colour);
    }
    svg.append(marks(run, place, 190));
    return tasks.colours;
  }));
  if (cgroups.rows.length) {
    const highest = Math.max(...cgroups.limits.map((one) => one.max), ...cgroups.rows.map((row) => row.rss));
    const palette = ["#e69f00", "#0072b2", "#009e73", "#cc79a7", "#7f6fc4", "#8c6d31", "#17a2b8"];
    const colours = Object.fromEntries(cgroups.limits.map((one, i) => [one.cgroup, palette[i % palette.length]]));
    found.push(figure(t("Memory cgroups"), t("their tasks' resident memory, limits dashed"), label, 150, (svg) => {
      const place = frame(150, run.end_s, highest * 1.08, MIB);
      svg.append(place.axes);
      for (const [name, rows] of grouped(cgroups.rows, "cgroup")) {
        drawn(svg, place, name, rows.map((row) => row.t), rows.map((row) => row.rss), colours[name]);
      }
      for (const one of cgroups.limits) {
        svg.append(make("line", { class: "limit", stroke: colours[one.cgroup], x1: LEFT, x2: WIDTH - RIGHT, y1: place.y(one.max), y2: place.y(one.max) }, make("title", {}, one.label)));
      }
      svg.append(marks(run, place, 150));
      return colours;
    }));
  }
  found.push(figure(t("Pressure and CPU"), t("share of time in which some task, or every task, waited for memory (10 s average)"), label, 130, (svg, readout) => {
    const place = frame(130, run.end_s, 100, "%");
    svg.append(place.axes);
    for (const [name, colour] of Object.entries(pressure.colours)) drawn(svg, place, name, pressure.t, pressure[name], colour);
    svg.append(marks(run, place, 130));
    pointed(svg, pressure.t, place, 130, (i) => Object.keys(pressure.colours).map((name) => `${name} ${number(pressure[name][i])} %`).join(", "), readout);
    return pressure.colours;
  }));
  return found;
}

const PLAY_MS = 9000;

// A run that plays: what has not happened yet is covered, and what has stands below in words.
export function player(run) {
  const figures = charts(run).slice(0, run.memory.swap_mb > 0 ? 3 : 2);
  const covers = figures.map((one) => {
    const svg = one.querySelector("svg.chart");
    const [, , , height] = svg.getAttribute("viewBox").split(" ").map(Number);
    const cover = make("rect", { class: "cover", y: 0, height: height - BOTTOM });
    svg.append(cover);
    return cover;
  });
  const rows = run.events.map((one) => make("li", { class: one.kind, hidden: true },
    make("span", { class: "time" }, `${one.t_s.toFixed(1)} s`), make("div", {}, make("span", { class: "what", ...inEnglish(one.what) }, one.what))));
  const end = make("p", { class: "facts", hidden: true }, make("span", { class: `badge ${run.good ? "completed" : "bad"}` }, run.outcome), ` ${run.ended}: `, make("span", inEnglish(run.end), run.end));
  const slider = make("input", { type: "range", min: 0, max: 1000, value: 0, "aria-label": t("time") });
  const clock = make("output", {});
  const button = make("button", { type: "button", class: "main" });
  let from = null;
  function show(part) {
    const at = part * run.end_s;
    const x = LEFT + part * (WIDTH - LEFT - RIGHT);
    for (const cover of covers) {
      cover.setAttribute("x", x);
      cover.setAttribute("width", Math.max(WIDTH - x, 0));
    }
    rows.forEach((row, i) => { row.hidden = run.events[i].t_s > at; });
    end.hidden = part < 1;
    slider.value = Math.round(part * 1000);
    slider.setAttribute("aria-valuetext", `${at.toFixed(1)} s`);
    clock.textContent = `${at.toFixed(1)} s`;
  }
  function stop() {
    from = null;
    button.textContent = t("Play");
  }
  function tick(now) {
    if (from === null) return;
    const part = Math.min((now - from) / PLAY_MS, 1);
    show(part);
    if (part < 1) requestAnimationFrame(tick);
    else stop();
  }
  function start() {
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
      show(1);
      return;
    }
    const part = slider.value >= 1000 ? 0 : slider.value / 1000;
    from = performance.now() - part * PLAY_MS;
    button.textContent = t("Pause");
    requestAnimationFrame(tick);
  }
  button.addEventListener("click", () => (from === null ? start() : stop()));
  slider.addEventListener("input", () => { stop(); show(slider.value / 1000); });
  stop();
  show(0);
  start();
  return make("div", { class: "player" }, make("div", { class: "row" }, button, slider, clock), figures, make("ol", { class: "events" }, rows), end);
}
