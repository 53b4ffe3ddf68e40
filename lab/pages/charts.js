// Curves of a run as SVG. Everything drawn comes from rows that oomkit made.
import { make } from "./dom.js";

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
  const x = (t) => LEFT + (t / end) * (WIDTH - LEFT - RIGHT);
  const y = (value) => TOP + (1 - Math.min(value / top, 1.02)) * (height - TOP - BOTTOM);
  const axes = make("g", { class: "axes", "aria-hidden": "true" });
  for (const value of ticks(top, height < 130 ? 2 : 4)) {
    axes.append(
      make("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }),
      make("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, number(value)),
    );
  }
  for (const t of ticks(end)) {
    axes.append(make("text", { x: Math.min(x(t), WIDTH - RIGHT - 8), y: height - 6, "text-anchor": "middle" }, number(t)));
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
      make("title", {}, `unusable for ${freeze.lasted}`)));
  }
  for (const kill of run.kills) {
    const at = place.x(kill.t);
    found.append(make("line", { class: "kill", x1: at, x2: at, y1: TOP, y2: height - BOTTOM }),
      make("path", { class: "kill", d: `M${at - 5} ${TOP - 7}h10l-5 8z` }, make("title", {}, `${kill.at}: ${kill.what} ${kill.victim}`)));
  }
  return found;
}

// An upright line follows the pointer; the values below it stand under the chart.
function pointed(svg, rows, place, height, words, readout) {
  const rule = make("line", { class: "pointer", y1: TOP, y2: height - BOTTOM, visibility: "hidden" });
  svg.append(rule);
  const times = rows.map((row) => row.t);
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * WIDTH;
    let best = 0;
    times.forEach((t, i) => {
      if (Math.abs(place.x(t) - x) < Math.abs(place.x(times[best]) - x)) best = i;
    });
    if (!rows.length) return;
    rule.setAttribute("visibility", "visible");
    rule.setAttribute("x1", place.x(times[best]));
    rule.setAttribute("x2", place.x(times[best]));
    readout.textContent = `${number(rows[best].t)} s: ${words(rows[best])}`;
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

function lines(svg, place, rows, key, value, colourOf, css = "") {
  const groups = Map.groupBy ? Map.groupBy(rows, (row) => row[key]) : grouped(rows, key);
  for (const [name, group] of groups) {
    svg.append(make("path", { class: `curve ${css}`, stroke: colourOf(group[0]), d: line(group.map((row) => [place.x(row.t), place.y(row[value])])) },
      make("title", {}, String(name))));
  }
}

function grouped(rows, key) {
  const groups = new Map();
  for (const row of rows) groups.set(row[key], [...(groups.get(row[key]) || []), row]);
  return groups;
}

export function charts(run) {
  const found = [];
  const { memory, tasks, cgroups, pressure } = run;
  const label = `${run.kills.length} kills; ${run.outcome} after ${run.ended}. What happened stands below in words.`;
  if (!memory.rows.length) return found;
  found.push(figure("Memory by use", "all of memory, stacked", label, 210, (svg, readout) => {
    const place = frame(210, run.end_s, memory.total_mb, "MiB");
    svg.append(place.axes);
    const below = memory.rows.map(() => 0);
    for (const use of memory.uses) {
      const low = memory.rows.map((row, i) => [place.x(row.t), place.y(below[i])]);
      memory.rows.forEach((row, i) => { below[i] += row[use]; });
      const high = memory.rows.map((row, i) => [place.x(row.t), place.y(below[i])]);
      svg.append(make("path", { class: "area", fill: memory.colours[use], d: `${line([...high, ...low.reverse()])}Z` }, make("title", {}, use)));
    }
    svg.append(marks(run, place, 210));
    pointed(svg, memory.rows, place, 210, (row) => memory.uses.map((use) => `${use} ${number(row[use])} MiB`).join(", "), readout);
    return memory.colours;
  }));
  if (memory.swap_mb > 0) {
    found.push(figure("Swap used", "the axis ends where swap does", label, 96, (svg, readout) => {
      const place = frame(96, run.end_s, memory.swap_mb, "MiB");
      const points = memory.rows.map((row) => [place.x(row.t), place.y(row["swap used"] || 0)]);
      const floor = place.y(0);
      svg.append(place.axes, make("path", { class: "area", fill: "#cc79a7", d: `${line([[points[0][0], floor], ...points, [points.at(-1)[0], floor]])}Z` }), marks(run, place, 96));
      pointed(svg, memory.rows, place, 96, (row) => `swap used ${number(row["swap used"] || 0)} MiB`, readout);
      return { "swap used": "#cc79a7" };
    }));
  }
  const top = Math.max(1, ...tasks.rows.map((row) => Math.max(row.rss, row.swap)));
  const rest = tasks.left_out ? `; ${tasks.left_out} smaller tasks are not drawn` : "";
  found.push(figure("Memory of each task", `resident${tasks.rows.some((row) => row.swap > 0) ? ", its swap dashed" : ""}${rest}`, label, 190, (svg) => {
    const place = frame(190, run.end_s, top * 1.05, "MiB");
    svg.append(place.axes);
    const colourOf = (row) => tasks.colours[row.name] || "#888888";
    lines(svg, place, tasks.rows.filter((row) => row.swap > 0), "task", "swap", colourOf, "dashed");
    lines(svg, place, tasks.rows, "task", "rss", colourOf);
    svg.append(marks(run, place, 190));
    return tasks.colours;
  }));
  if (cgroups.rows.length) {
    const most = Math.max(...cgroups.limits.map((one) => one.max), ...cgroups.rows.map((row) => row.rss));
    const palette = Object.values(tasks.colours).length ? ["#e69f00", "#0072b2", "#009e73", "#cc79a7", "#7f6fc4", "#8c6d31", "#17a2b8"] : [];
    const colours = Object.fromEntries(cgroups.limits.map((one, i) => [one.cgroup, palette[i % palette.length]]));
    found.push(figure("Memory cgroups", "their tasks' resident memory, limits dashed", label, 150, (svg) => {
      const place = frame(150, run.end_s, most * 1.08, "MiB");
      svg.append(place.axes);
      lines(svg, place, cgroups.rows, "cgroup", "rss", (row) => colours[row.cgroup]);
      for (const one of cgroups.limits) {
        svg.append(make("line", { class: "limit", stroke: colours[one.cgroup], x1: LEFT, x2: WIDTH - RIGHT, y1: place.y(one.max), y2: place.y(one.max) }, make("title", {}, one.label)));
      }
      svg.append(marks(run, place, 150));
      return colours;
    }));
  }
  found.push(figure("Pressure and CPU", "share of time in which some task, or every task, waited for memory (10 s average)", label, 130, (svg, readout) => {
    const place = frame(130, run.end_s, 100, "%");
    svg.append(place.axes);
    for (const [name, colour] of Object.entries(pressure.colours)) {
      svg.append(make("path", { class: "curve", stroke: colour, d: line(pressure.rows.map((row) => [place.x(row.t), place.y(row[name])])) }));
    }
    svg.append(marks(run, place, 130));
    pointed(svg, pressure.rows, place, 130, (row) => Object.keys(pressure.colours).map((name) => `${name} ${number(row[name])} %`).join(", "), readout);
    return pressure.colours;
  }));
  return found;
}
