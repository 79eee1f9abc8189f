// SPDX-License-Identifier: BSD-3-Clause
// The interactive part of the page that page.py writes: what its parts share, the curve, the tables and the
// downloads. heatmap.js and tools.js follow in the same script. Names reach the page as text only, never as markup.
"use strict";

const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
const { models, rows, columns, rowLabels, columnLabels, axisTitles, fields, notAbove } = data;
const values = fields[0].values; // rows × columns, null where undefined
const best = values.map((row) => row.indexOf(Math.max(...row.filter((v) => v !== null)))); // -1 where all are
const partner = data.namesakes ?? best; // the column that the curve compares each row with

// Text -------------------------------------------------------------------------------------------------------

function format(value) {
  if (value === null || value === undefined) return "undefined";
  return value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential(2) : value.toFixed(4);
}

const withMinus = (text) => text.replace(/^-/, "−").replace(/^−(0\.0*)$/, "$1");

const ruler = document.createElement("canvas").getContext("2d");
ruler.font = "12px system-ui, sans-serif"; // that of svg text in page.css
const textWidth = (text) => ruler.measureText(text).width; // pixels
const titleWidth = (text) => (14 / 12) * textWidth(text);
const room = (labels) => Math.max(...labels.map(textWidth)) + 10;

// Break a title into lines of at most `width` pixels, after spaces, dots and the like where it has any.
function wrapped(title, width) {
  const lines = [""];
  for (const piece of title.match(/[^\s.,/_-]{0,16}[\s.,/_-]?/gu)) {
    const longer = lines.at(-1) + piece;
    if (lines.at(-1) && titleWidth(longer) > width) lines.push(piece);
    else lines[lines.length - 1] = longer;
  }
  return lines;
}

// Drawing ------------------------------------------------------------------------------------------------------

function svg(tag, attributes, parent, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  parent.append(element);
  return element;
}

function html(tag, properties, parent) {
  const element = Object.assign(document.createElement(tag), properties);
  parent.append(element);
  return element;
}

function label(parent, x, y, text, attributes = {}) {
  return svg("text", { x, y, dy: "0.35em", "text-anchor": "middle", ...attributes }, parent, text);
}

// Which of n layers have room for a name: all, else those that were `found`, else every 2nd, 5th, 10th ….
function named(n, spacing, found = []) {
  let step = 1;
  for (let k = 1; step * spacing < 14; k++) step = [1, 2, 5][k % 3] * 10 ** Math.floor(k / 3);
  if (step === 1 || found.length === 0) return [...Array(n).keys()].filter((i) => i % step === 0);
  const shown = [];
  for (const i of found) if (!shown.length || (i - shown.at(-1)) * spacing >= 14) shown.push(i);
  return shown;
}

// Name layers along the x axis, upright where they do not fit side by side. Returns the height they take.
function nameAlong(parent, labels, spacing, left, y, found = []) {
  const upright = room(labels) > spacing;
  for (const i of upright ? named(labels.length, spacing, found) : labels.keys()) {
    const x = left + (i + 0.5) * spacing;
    const turn = { transform: `rotate(-90 ${x} ${y})`, "text-anchor": "end" };
    const style = found.includes(i) ? { class: "found-name" } : {};
    label(parent, x, upright ? y : y + 8, labels[i], { ...style, ...(upright ? turn : {}) });
  }
  return upright ? room(labels) : 20;
}

// Title an x axis in the middle of the `visible` pixels of it. Returns [right end, height] of the title.
function titleBelow(parent, left, visible, y, title) {
  const lines = wrapped(title, Math.max(140, visible));
  const longest = Math.max(...lines.map(titleWidth));
  const middle = left + Math.max(visible, longest) / 2;
  lines.forEach((line, k) => label(parent, middle, y + 17 * k, line.trim(), { class: "title" }));
  return [middle + longest / 2 + 4, 17 * lines.length];
}

function redraw(...parts) {
  for (const part of parts) {
    const { scrollLeft, scrollTop } = part.at;
    part.at.replaceChildren();
    part.draw();
    [part.at.scrollLeft, part.at.scrollTop] = [scrollLeft, scrollTop];
    part.stick?.();
  }
}

// The box with what is known of one pair -------------------------------------------------------------------------

function pair(i, j) {
  const known = fields.map((field) => [field.name, format(field.values[i][j])]);
  return [[models[0], rows[i]], [models[1], columns[j]], ...known];
}

// Set a text that may be broken within names.
function setBreakable(element, text) {
  element.append(...text.split(/(?<=[._/])(?=[^\W\d])/u).flatMap((piece, k) => (k ? [document.createElement("wbr"), piece] : [piece])));
}

function showDetails(entries, x, y) {
  const list = document.createElement("dl");
  for (const [term, text] of entries) {
    html("dt", { textContent: term }, list);
    html("dd", { textContent: text }, list);
  }
  const box = byId("details");
  box.replaceChildren(list);
  box.hidden = false;
  box.style.left = `${Math.max(0, Math.min(x + 14, innerWidth - box.offsetWidth - 8))}px`;
  box.style.top = `${y + 14 + box.offsetHeight < innerHeight ? y + 14 : Math.max(0, y - 14 - box.offsetHeight)}px`;
}

// Curve over depth -----------------------------------------------------------------------------------------------

const curve = { at: byId("curve"), left: 46, top: 10, height: 230 };

// The curves, each with its name, its look in page.css and its marker of radius r as a path.
curve.lines = function () {
  const reference = byId("reference").value;
  const how = data.namesakes ? "its namesake" : "its best match";
  const own = {
    name: `each layer of ${models[0]} with ${how} in ${models[1]}`, style: "own",
    marker: (r) => `m${-r} 0a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`, // a disc
    values: partner.map((j, i) => values[i][j] ?? null),
  };
  const chance = !data.chance ? [] : [{
    name: "chance level of the first", style: "chance", marker: () => "",
    values: partner.map((j, i) => data.chance[i][j] ?? null),
  }];
  if (reference === "") return [own, ...chance];
  return [own, ...chance, {
    name: `each layer of ${models[0]} with ${columns[reference]} of ${models[1]}`, style: "chosen",
    marker: (r) => `m${-r} ${-r}h${2 * r}v${2 * r}h${-2 * r}z`, // a square
    values: values.map((row) => row[reference]),
  }];
};

curve.draw = function () {
  const { left, top, height } = this;
  const shown = Math.min(this.at.clientWidth - left - 20, Math.max(400, 48 * rows.length));
  const width = Math.max(120, 3 * rows.length, shown);
  const lines = this.lines();
  const lowest = Math.min(0, ...lines.flatMap((line) => line.values)); // null counts as 0
  this.step = width / rows.length;
  this.x = (i) => left + (i + 0.5) * this.step;
  this.y = (value) => top + height * (1.03 - value) / (1.06 - lowest);
  const picture = svg("svg", { "aria-hidden": "true" }, this.at);
  for (let tick = Math.ceil(lowest * 5); tick <= 5; tick++) {
    svg("path", { class: "grid", d: `M${left} ${this.y(tick / 5)}h${width}` }, picture);
    label(picture, left - 6, this.y(tick / 5), withMinus((tick / 5).toFixed(1)), { "text-anchor": "end" });
  }
  lines.forEach((line, k) => this.drawLine(picture, line, k));
  const below = top + height + 8 + nameAlong(picture, rowLabels, this.step, left, top + height + 8);
  const [right, high] = titleBelow(picture, left, Math.min(width, this.at.clientWidth - left), below + 10, axisTitles[0]);
  picture.setAttribute("width", Math.max(left + width + 10, right));
  picture.setAttribute("height", below + 8 + high);
  this.drawLegend(lines);
};

// A point before which nothing is known starts a new stroke. Markers of many layers keep their distance.
curve.drawLine = function (picture, { style, marker, values: line }, k) {
  const d = line.map((v, i) => (v === null ? "" : `${(line[i - 1] ?? null) === null ? "M" : "L"}${this.x(i)} ${this.y(v)}`));
  svg("path", { class: `curve ${style}`, d: d.join("") }, picture);
  const every = Math.ceil(14 / this.step);
  line.forEach((v, i) => {
    const alone = (line[i - 1] ?? null) === null && (line[i + 1] ?? null) === null;
    if (v === null || ((i + k * Math.floor(every / 2)) % every && !alone)) return;
    svg("path", { class: `marker ${style}`, d: `M${this.x(i)} ${this.y(v)}${marker(3.5)}` }, picture);
  });
};

curve.drawLegend = function (lines) {
  byId("legend").replaceChildren();
  for (const { name, style, marker } of lines) {
    const entry = html("li", {}, byId("legend"));
    const sample = svg("svg", { width: 40, height: 12, "aria-hidden": "true" }, entry);
    svg("path", { class: `curve ${style}`, d: "M0 6h40" }, sample);
    svg("path", { class: `marker ${style}`, d: `M20 6${marker(3.5)}` }, sample);
    html("span", { textContent: name }, entry);
  }
};

curve.at.addEventListener("pointermove", (event) => {
  const i = Math.floor((event.clientX - curve.at.firstElementChild.getBoundingClientRect().left - curve.left) / curve.step);
  if (!(i in rows)) return;
  const reference = byId("reference").value;
  const entries = partner[i] < 0 ? [[models[0], rows[i]], [fields[0].name, "undefined"]] : pair(i, partner[i]);
  showDetails(reference === "" ? entries : [...entries, ...pair(i, reference).slice(1)], event.clientX, event.clientY);
});
curve.at.addEventListener("pointerleave", () => (byId("details").hidden = true));

function choose(j) {
  byId("reference").value = j;
  redraw(curve);
}

byId("column-model").textContent = models[1];
columns.forEach((name, j) => byId("reference").append(new Option(name, j)));
byId("reference").addEventListener("change", () => redraw(curve));

// Tables -------------------------------------------------------------------------------------------------------

// Sort by a column: names from A and numbers from the largest, the other way when clicked again.
function sortMatches(heading, k) {
  const [first, second] = k < 2 ? ["ascending", "descending"] : ["descending", "ascending"];
  const order = heading.getAttribute("aria-sort") === first ? second : first;
  heading.parentElement.querySelectorAll("th").forEach((th) => th.removeAttribute("aria-sort"));
  heading.setAttribute("aria-sort", order);
  const text = (line) => line.cells[k].textContent;
  const number = (line) => (text(line) === "undefined" ? -Infinity : Number(text(line)));
  const compare = k < 2
    ? (a, b) => text(a).localeCompare(text(b), "en", { numeric: true })
    : (a, b) => number(a) - number(b);
  const sign = order === "ascending" ? 1 : -1;
  const body = document.querySelector("#matches tbody");
  body.append(...[...body.rows].sort((a, b) => sign * compare(a, b)));
}

document.querySelectorAll("#matches thead th").forEach((heading, k) => {
  const button = html("button", { type: "button", textContent: heading.textContent }, heading);
  heading.replaceChildren(button);
  button.addEventListener("click", () => sortMatches(heading, k));
});

// All values, for those who cannot see the map. Made when it is opened: it may be large.
function fillTable() {
  const table = html("table", {}, byId("table"));
  html("caption", { textContent: `Rows: layers of ${models[0]}. Columns: layers of ${models[1]}.` }, table);
  const head = html("tr", {}, html("thead", {}, table));
  html("td", {}, head);
  for (const name of columns) setBreakable(html("th", { scope: "col" }, head), name);
  const body = html("tbody", {}, table);
  rows.forEach((name, i) => {
    const line = html("tr", {}, body);
    setBreakable(html("th", { scope: "row" }, line), name);
    for (const value of values[i]) html("td", { textContent: format(value) }, line);
  });
}

byId("all").addEventListener("toggle", fillTable, { once: true });

// Downloads ----------------------------------------------------------------------------------------------------

function download(text, type, suffix) {
  const stem = models.join("-").replace(/[^\p{L}\p{N}.]+/gu, "-").replace(/^[-.]+|-+$/g, "") || "cka";
  const href = URL.createObjectURL(new Blob([text], { type }));
  Object.assign(document.createElement("a"), { href, download: `${stem}.${suffix}` }).click();
  URL.revokeObjectURL(href);
}

// A float64 as Python writes it, to the last bit.
function exact(value) {
  if (value === null) return "nan";
  if (Number.isInteger(value)) return value.toFixed(1);
  return Math.abs(value) < 1e-4 ? value.toExponential().replace(/e-(\d)$/, "e-0$1") : String(value);
}

// The text of CKAMatrix.to_csv.
function wideCsv() {
  const quoted = (text) => `"${text.replaceAll('"', '""')}"`;
  const list = (row) => `[${row.map((v) => (v === null ? "null" : exact(v))).join(", ")}]`;
  const comments = fields.slice(1).map((field) => `# ${field.name}: [${field.values.map(list).join(", ")}]`);
  const lines = [['""', ...columns.map(quoted)], ...rows.map((name, i) => [quoted(name), ...values[i].map(exact)])];
  return [...data.csvHead, ...comments, ...lines.map((line) => line.join(","))].map((line) => line + "\n").join("");
}

byId("csv").addEventListener("click", () => download(wideCsv(), "text/csv", "csv"));
