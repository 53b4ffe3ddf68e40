// Small ways to make elements. Text is only ever text: nothing here parses mark-up, except shown(),
// which takes what oomkit has made and escaped.

import { t } from "./words.js";

export const byId = (id) => document.getElementById(id);

export function make(name, attributes = {}, ...inside) {
  const svg = ["svg", "g", "path", "rect", "line", "text", "title", "polyline", "polygon", "circle", "defs", "marker"].includes(name);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "value") element.value = value;
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(...inside.flat().filter((one) => one !== null && one !== undefined));
  return element;
}

// The parts of a page of oomkit's, without its frame. A parsed document runs no scripts and loads
// nothing.
export function shown(html) {
  const parsed = new DOMParser().parseFromString(html, "text/html");
  const from = parsed.querySelector("main") || parsed.body;
  for (const wide of from.querySelectorAll(".wide")) {
    wide.setAttribute("tabindex", "0");
    wide.setAttribute("role", "region");
    wide.setAttribute("aria-label", "table");
  }
  return [...from.childNodes].map((node) => document.adoptNode(node));
}

export function save(name, text, type) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = make("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

export function later(wait, work) {
  let timer = 0;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...given), wait);
  };
}

// What is dropped anywhere on the page goes to the page that is shown.
export function onDrop(isShown, take) {
  addEventListener("dragover", (event) => {
    if (!isShown()) return;
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dropping");
  });
  addEventListener("drop", (event) => {
    if (!isShown()) return;
    event.preventDefault();
    document.body.classList.remove("dropping");
    const [file] = event.dataTransfer.files;
    if (file) take(file);
  });
}

// A table whose columns sort it: rows of { value, text, css, pick }. The heads are buttons, for the
// keyboard, and aria-sort says which way it is sorted.
export function sortable(label, columns, rows) {
  const body = make("tbody");
  let by = -1;
  let down = true;
  const heads = columns.map(({ name, title, number }, i) => make("th", { scope: "col", class: number ? "n" : "" },
    make("button", { type: "button", class: "sort", title, onclick: () => sort(i) }, t(name))));
  function fill(sorted) {
    body.replaceChildren(...sorted.map((row) => make("tr", { class: row.css }, row.map((cell, i) => make(i ? "td" : "th", { scope: i ? null : "row", class: `${columns[i].number ? "n" : ""} ${cell.css || ""}` },
      cell.pick ? make("button", { type: "button", onclick: cell.pick }, cell.text) : cell.text)))));
  }
  function sort(i) {
    down = by === i ? !down : Boolean(columns[i].number);
    by = i;
    heads.forEach((head, j) => (j === i ? head.setAttribute("aria-sort", down ? "descending" : "ascending") : head.removeAttribute("aria-sort")));
    const way = down ? -1 : 1;
    fill([...rows].sort((a, b) => {
      const [left, right] = [a[i].value, b[i].value];
      // Cells without a value stand last, whichever way.
      if (left === "" || right === "") return (left === "") - (right === "");
      return way * (typeof left === "number" && typeof right === "number" ? left - right : String(left).localeCompare(String(right)));
    }));
  }
  fill(rows);
  return make("div", { class: "wide", tabindex: "0", role: "region", "aria-label": label },
    make("table", { class: "sortable" }, make("thead", {}, make("tr", {}, heads)), body));
}
