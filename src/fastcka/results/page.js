// SPDX-License-Identifier: BSD-3-Clause
// The interactive part of the page that report.py writes. Names reach the page as text only, never as markup.
"use strict";

const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
const { models, rows, columns, rowLabels, columnLabels, axisTitles, fields } = data;
const values = fields[0].values; // rows × columns, null where undefined
const other = data.counterparts ?? values.map((row) => row.indexOf(Math.max(...row.filter((v) => v !== null))));

// Colours: matplotlib's magma at every sixteenth of the scale from 0 to 1, and one for negative values ---------

const MAGMA = ["#000004", "#0a0822", "#1d1147", "#36106b", "#51127c", "#6a1c81", "#832681", "#9c2e7f", "#b73779",
  "#cf4070", "#e55064", "#f4695c", "#fb8761", "#fea571", "#fec287", "#fde0a1", "#fcfdbf"];
const BELOW = "#6ec6ff";
const rgb = (hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));

function color(value) {
  if (value < -1e-6) return rgb(BELOW);
  const t = 16 * Math.min(Math.max(value, 0), 1);
  const k = Math.min(Math.floor(t), 15);
  const [low, high] = [rgb(MAGMA[k]), rgb(MAGMA[k + 1])];
  return low.map((c, i) => Math.round(c + (t - k) * (high[i] - c)));
}

function inkOn([r, g, b]) { // black or white, whichever stands out more (WCAG relative luminance)
  return 0.2126 * (r / 255) ** 2.2 + 0.7152 * (g / 255) ** 2.2 + 0.0722 * (b / 255) ** 2.2 > 0.18 ? "#000" : "#fff";
}

// Text -------------------------------------------------------------------------------------------------------

function format(value) {
  if (value === null || value === undefined) return "undefined";
  return value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential(2) : value.toFixed(4);
}

const ruler = document.createElement("canvas").getContext("2d");
ruler.font = "12px system-ui, sans-serif"; // that of svg text in report.css
const textWidth = (text) => ruler.measureText(text).width; // pixels
const room = (labels) => Math.max(...labels.map(textWidth)) + 10;

function svg(tag, attributes, parent, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  parent.append(element);
  return element;
}

function label(parent, x, y, text, attributes = {}) {
  return svg("text", { x, y, dy: "0.35em", "text-anchor": "middle", ...attributes }, parent, text);
}

// Name every layer, or every 2nd, 5th, 10th …, whichever has room.
function nameRows(parent, spacing, x, bottom) {
  const step = thinned(spacing);
  for (let i = 0; i < rows.length; i += step) {
    label(parent, x, bottom - (i + 0.5) * spacing, rowLabels[i], { "text-anchor": "end" });
  }
}

// The same along the x axis, upright where the names do not fit side by side. Returns the height they take.
function nameAlong(parent, labels, spacing, left, y) {
  const upright = room(labels) > spacing;
  const step = upright ? thinned(spacing) : 1;
  for (let i = 0; i < labels.length; i += step) {
    const x = left + (i + 0.5) * spacing;
    const turn = { transform: `rotate(-90 ${x} ${y})`, "text-anchor": "end" };
    label(parent, x, upright ? y : y + 8, labels[i], upright ? turn : {});
  }
  return upright ? room(labels) : 20;
}

// Title an x axis: centred, or from its left end when it is longer. Gives the picture its width.
function titleBelow(parent, left, width, y, title, margin) {
  const long = (14 / 12) * textWidth(title);
  const [x, anchor] = long > width ? [left, "start"] : [left + width / 2, "middle"];
  label(parent, x, y, title, { class: "title", "text-anchor": anchor });
  parent.setAttribute("width", left + Math.max(width + margin, long + 10));
}

function thinned(spacing) {
  let step = 1;
  for (let k = 1; step * spacing < 14; k++) step = [1, 2, 5][k % 3] * 10 ** Math.floor(k / 3);
  return step;
}

// The box with what is known of one pair -------------------------------------------------------------------------

function pair(i, j) {
  const known = fields.map((field) => [field.name, format(field.values[i][j])]);
  return [[models[0], rows[i]], [models[1], columns[j]], ...known];
}

function showDetails(entries, x, y) {
  const list = document.createElement("dl");
  for (const [term, text] of entries) {
    list.append(Object.assign(document.createElement("dt"), { textContent: term }));
    list.append(Object.assign(document.createElement("dd"), { textContent: text }));
  }
  const box = byId("details");
  box.replaceChildren(list);
  box.hidden = false;
  box.style.left = `${Math.max(0, Math.min(x + 14, innerWidth - box.offsetWidth - 8))}px`;
  box.style.top = `${y + 14 + box.offsetHeight < innerHeight ? y + 14 : Math.max(0, y - 14 - box.offsetHeight)}px`;
}

// Heat map -----------------------------------------------------------------------------------------------------

const SCALE_ROOM = 110; // pixels to the right, for the colour scale
const heatmap = { at: byId("heatmap"), top: 8, i: 0, j: 0 }; // (i, j): the cell last pointed at

heatmap.draw = function () {
  this.left = room(rowLabels) + 24;
  const side = Math.min((this.at.clientWidth - this.left - SCALE_ROOM) / columns.length, 640 / rows.length, 72);
  this.cell = Math.max(2, Math.floor(side));
  const { left, top, cell } = this;
  const [width, height] = [cell * columns.length, cell * rows.length];
  const bottom = top + height;
  const picture = svg("svg", {}, this.at);

  // The image has one pixel a cell. Undefined cells are transparent: the hatching shows through.
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [columns.length, rows.length];
  const pixels = new ImageData(columns.length, rows.length);
  const cells = values.flatMap((row, i) => row.map((value, j) => ({ value, j, k: rows.length - 1 - i })));
  const defined = cells.filter(({ value }) => value !== null);
  for (const { value, j, k } of defined) pixels.data.set([...color(value), 255], 4 * (k * columns.length + j));
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  const hatch = svg("pattern", { id: "hatch", width: 6, height: 6, patternUnits: "userSpaceOnUse" }, picture);
  svg("rect", { width: 6, height: 6, fill: "#eee" }, hatch);
  svg("path", { d: "M-1 1l2-2M0 6l6-6M5 7l2-2", stroke: "#999" }, hatch);
  const area = { x: left, y: top, width, height };
  svg("rect", { ...area, fill: "url(#hatch)" }, picture);
  svg("image", { ...area, href: canvas.toDataURL(), preserveAspectRatio: "none" }, picture);
  svg("rect", { ...area, class: "frame" }, picture);
  if (cell >= 34) {
    for (const { value, j, k } of defined) {
      const text = value.toFixed(2).replace(/^-0.00$/, "0.00").replace("-", "−");
      label(picture, left + (j + 0.5) * cell, top + (k + 0.5) * cell, text, { fill: inkOn(color(value)) });
    }
  }

  nameRows(picture, cell, left - 6, bottom);
  const below = bottom + 6 + nameAlong(picture, columnLabels, cell, left, bottom + 6);
  titleBelow(picture, left, width, below + 10, axisTitles[1], SCALE_ROOM);
  // The title of the y axis is centred, or begins at the top when it is longer than the axis.
  const over = (14 / 12) * textWidth(axisTitles[0]) - height;
  const y = over > 0 ? top : top + height / 2;
  const anchor = over > 0 ? "end" : "middle";
  label(picture, 10, y, axisTitles[0], { class: "title", transform: `rotate(-90 10 ${y})`, "text-anchor": anchor });
  picture.setAttribute("height", Math.max(below + 24, bottom + 50, bottom + over + 10));

  // The colour scale, and what is not on it.
  const x = left + width + 16;
  const gradient = svg("linearGradient", { id: "scale", x1: 0, y1: 1, x2: 0, y2: 0 }, picture);
  MAGMA.forEach((c, k) => svg("stop", { offset: k / 16, "stop-color": c }, gradient));
  svg("rect", { x, y: top, width: 14, height, fill: "url(#scale)" }, picture);
  for (const tick of height > 90 ? [0, 0.2, 0.4, 0.6, 0.8, 1] : [0, 1]) {
    label(picture, x + 20, bottom - tick * height, tick, { "text-anchor": "start" });
  }
  const others = [];
  if (defined.some(({ value }) => value < -1e-6)) others.push([BELOW, "below 0"]);
  if (defined.length < cells.length) others.push(["url(#hatch)", "undefined"]);
  others.forEach(([fill, text], k) => {
    svg("rect", { x, y: bottom + 14 + 20 * k, width: 14, height: 12, fill }, picture);
    label(picture, x + 20, bottom + 20 + 20 * k, text, { "text-anchor": "start" });
  });
  this.cursor = svg("rect", { class: "cursor", width: cell, height: cell, visibility: "hidden" }, picture);
};

heatmap.point = function (i, j) {
  [this.i, this.j] = [i, j];
  const x = this.left + j * this.cell;
  const y = this.top + (rows.length - 1 - i) * this.cell;
  for (const [name, value] of Object.entries({ x, y, visibility: "visible" })) this.cursor.setAttribute(name, value);
  const box = this.cursor.getBoundingClientRect();
  showDetails(pair(i, j), box.right, box.bottom);
};

heatmap.leave = function () {
  this.cursor.setAttribute("visibility", "hidden");
  byId("details").hidden = true;
};

function pointedAt(event) {
  const box = heatmap.at.firstElementChild.getBoundingClientRect();
  const j = Math.floor((event.clientX - box.left - heatmap.left) / heatmap.cell);
  const i = rows.length - 1 - Math.floor((event.clientY - box.top - heatmap.top) / heatmap.cell);
  return i in rows && j in columns ? [i, j] : null;
}

heatmap.at.addEventListener("pointermove", (event) => {
  const cell = pointedAt(event);
  if (cell) heatmap.point(...cell);
  else heatmap.leave();
});
heatmap.at.addEventListener("pointerleave", () => heatmap.leave());
heatmap.at.addEventListener("blur", () => heatmap.leave());
heatmap.at.addEventListener("click", (event) => {
  const cell = pointedAt(event);
  if (cell) choose(cell[1]);
});
heatmap.at.addEventListener("keydown", (event) => {
  const step = { ArrowUp: [1, 0], ArrowDown: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] }[event.key];
  if (event.key === "Enter") choose(heatmap.j);
  if (!step) return;
  event.preventDefault();
  const inside = (k, n) => Math.max(0, Math.min(k, n - 1));
  heatmap.point(inside(heatmap.i + step[0], rows.length), inside(heatmap.j + step[1], columns.length));
});

// Curve over depth -----------------------------------------------------------------------------------------------

const curve = { at: byId("curve"), left: 46, top: 10, height: 230 };

curve.draw = function () {
  const { left, top, height } = this;
  const width = Math.max(120, Math.min(this.at.clientWidth - left - 20, Math.max(400, 48 * rows.length)));
  const reference = byId("reference").value;
  const own = other.map((j, i) => values[i][j] ?? null);
  const chosen = reference === "" ? [] : values.map((row) => row[reference]);
  const lowest = Math.min(0, ...own, ...chosen); // null counts as 0
  this.step = width / rows.length;
  const x = (i) => left + (i + 0.5) * this.step;
  const y = (value) => top + height * (1.03 - value) / (1.06 - lowest);
  const picture = svg("svg", {}, this.at);

  for (let tick = Math.ceil(lowest * 5); tick <= 5; tick++) {
    svg("path", { class: "grid", d: `M${left} ${y(tick / 5)}h${width}` }, picture);
    label(picture, left - 6, y(tick / 5), (tick / 5).toFixed(1).replace("-", "−"), { "text-anchor": "end" });
  }
  for (const [line, style] of [[own, "curve"], [chosen, "curve dashed"]]) {
    // A point before which nothing is known starts a new stroke.
    const stroke = line.map((v, i) => (v === null ? "" : `${(line[i - 1] ?? null) === null ? "M" : "L"}${x(i)} ${y(v)}`));
    svg("path", { class: style, d: stroke.join("") }, picture);
    line.forEach((v, i) => v !== null && svg("circle", { class: "dot", cx: x(i), cy: y(v), r: this.step > 8 ? 3.5 : 1.5 }, picture));
  }
  const below = top + height + 8 + nameAlong(picture, rowLabels, this.step, left, top + height + 8);
  titleBelow(picture, left, width, below + 10, axisTitles[0], 20);
  picture.setAttribute("height", below + 24);
};

curve.at.addEventListener("pointermove", (event) => {
  const i = Math.floor((event.clientX - curve.at.firstElementChild.getBoundingClientRect().left - curve.left) / curve.step);
  if (!(i in rows)) return;
  const reference = byId("reference").value;
  const entries = other[i] < 0 ? [[models[0], rows[i]], ["CKA", "undefined"]] : pair(i, other[i]);
  showDetails(reference === "" ? entries : [...entries, ...pair(i, reference).slice(1)], event.clientX, event.clientY);
});
curve.at.addEventListener("pointerleave", () => (byId("details").hidden = true));

function choose(j) {
  byId("reference").value = j;
  redraw(curve);
}

columns.forEach((name, j) => byId("reference").append(new Option(name, j)));
byId("reference").addEventListener("change", () => redraw(curve));

// Table and download -----------------------------------------------------------------------------------------

document.querySelectorAll("#matches thead th").forEach((heading, k) => {
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: heading.textContent });
  heading.replaceChildren(button);
  button.addEventListener("click", () => {
    const sign = heading.getAttribute("aria-sort") === "descending" ? 1 : -1;
    heading.parentElement.querySelectorAll("th").forEach((th) => th.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    const body = document.querySelector("#matches tbody");
    const text = (line) => line.cells[k].textContent;
    const number = (line) => (text(line) === "undefined" ? -Infinity : Number(text(line)));
    const compare = k < 2
      ? (a, b) => text(a).localeCompare(text(b), undefined, { numeric: true })
      : (a, b) => number(a) - number(b);
    body.append(...[...body.rows].sort((a, b) => sign * compare(a, b)));
  });
});

byId("csv").addEventListener("click", () => {
  const quote = (text) => `"${text.replaceAll('"', '""')}"`;
  const lines = [["row", "column", ...fields.map((field) => quote(field.name))]];
  rows.forEach((row, i) => columns.forEach((column, j) => {
    lines.push([quote(row), quote(column), ...fields.map((field) => field.values[i][j] ?? "nan")]);
  }));
  const file = new Blob([lines.map((line) => line.join(",") + "\n").join("")], { type: "text/csv" });
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(file), download: "cka.csv" });
  link.click();
  URL.revokeObjectURL(link.href);
});

function redraw(...parts) {
  for (const part of parts) {
    part.at.replaceChildren();
    part.draw();
  }
}

redraw(heatmap, curve);
addEventListener("resize", () => redraw(heatmap, curve));
