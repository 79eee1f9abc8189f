// SPDX-License-Identifier: BSD-3-Clause
// The heat map of the page, with pointer and keys; follows page.js in the same script.

// Colours, as heatmap.py has them: matplotlib's magma at every sixteenth, from zero or a scale's later begin to its
// end; two blues from a scale's begin to zero; and one for values below the scale ---------------------------------

const MAGMA = ["#000004", "#0a0822", "#1d1147", "#36106b", "#51127c", "#6a1c81", "#832681", "#9c2e7f", "#b73779",
  "#cf4070", "#e55064", "#f4695c", "#fb8761", "#fea571", "#fec287", "#fde0a1", "#fcfdbf"];
const BELOW = "#6ec6ff";
const ROUNDING = 1e-6; // a value this little outside the scale counts as on it
const rgb = (hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));
const STOPS = MAGMA.map(rgb);
const NEGATIVE = ["#a8e0ff", "#4db4ff"];
const BLUES = NEGATIVE.map(rgb);

function color(value) {
  const { low, high } = heatmap;
  if (value < low - ROUNDING) return rgb(BELOW);
  if (low < 0 && (value < -ROUNDING || high <= 0)) return between(BLUES, (value - low) / (Math.min(high, 0) - low));
  const begin = Math.max(low, 0);
  return between(STOPS, (value - begin) / (high - begin));
}

// The colour at t, from 0 to 1, of evenly spaced ones.
function between(stops, t) {
  const place = (stops.length - 1) * Math.min(Math.max(t, 0), 1);
  const k = Math.min(Math.floor(place), stops.length - 2);
  return stops[k].map((c, i) => Math.round(c + (place - k) * (stops[k + 1][i] - c)));
}

function inkOn([r, g, b]) { // black or white, whichever stands out more (WCAG relative luminance)
  return 0.2126 * (r / 255) ** 2.2 + 0.7152 * (g / 255) ** 2.2 + 0.0722 * (b / 255) ** 2.2 > 0.18 ? "#000" : "#fff";
}

// Round numbers from low to high, some five of them.
function ticks(low, high) {
  const power = 10 ** Math.floor(Math.log10((high - low) / 5));
  const step = power * [1, 2, 5, 10].find((k) => k * power * 5.5 >= high - low);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const first = Math.ceil(low / step - 1e-9);
  const count = Math.floor(high / step + 1e-9) - first + 1;
  return [...Array(count).keys()].map((k) => ((first + k) * step).toFixed(digits));
}

// Drawing ------------------------------------------------------------------------------------------------------

const TOP = 8; // pixels above the map
const SCALE_ROOM = 110; // pixels to its right, for the colour scale
const MOST_WRITTEN = 10000; // values that a browser draws as text without delay
const heatmap = {
  at: byId("heatmap"),
  i: 0, j: 0, // the cell last pointed at
  zoom: 1,
  low: 0, high: 1, // the ends of the colour scale
  found: { rows: [], columns: [] }, // by the search
};

// Fit the map into the page, but never with cells smaller than those of a map of 640 pixels: it scrolls.
heatmap.arrange = function () {
  const legible = Math.min(36, 640 / Math.max(rows.length, columns.length));
  this.rowTitle = wrapped(axisTitles[0], Math.max(140, legible * rows.length));
  this.left = room(rowLabels) + 7 + 17 * this.rowTitle.length;
  const side = Math.min((this.at.clientWidth - this.left - SCALE_ROOM) / columns.length, 640 / rows.length, 72);
  this.cell = Math.max(2, Math.floor(this.zoom * Math.max(side, legible)));
  this.width = this.cell * columns.length;
  this.height = this.cell * rows.length;
  this.bottom = TOP + this.height;
};

heatmap.x = (j) => heatmap.left + j * heatmap.cell; // left end of a column
heatmap.y = (i) => heatmap.bottom - (i + 1) * heatmap.cell; // upper end of a row: the first lies at the bottom

heatmap.draw = function () {
  byId("details").hidden = true;
  this.arrange();
  const picture = svg("svg", { "aria-hidden": "true" }, this.at);
  this.drawCells(picture);
  if (this.cell >= 34 && rows.length * columns.length <= MOST_WRITTEN) this.drawValues(picture);
  if (byId("mark").checked) this.drawBest(picture);
  this.drawFound(picture);
  this.drawScale(picture);
  this.cursor = svg("rect", { class: "cursor", width: this.cell, height: this.cell, visibility: "hidden" }, picture);
  this.drawNames(picture);
};

// The image has one pixel a cell. Undefined cells are transparent: the hatching shows through.
heatmap.drawCells = function (picture) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [columns.length, rows.length];
  const pixels = new ImageData(columns.length, rows.length);
  values.forEach((row, i) => row.forEach((value, j) => {
    if (value !== null) pixels.data.set([...color(value), 255], 4 * ((rows.length - 1 - i) * columns.length + j));
  }));
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  const hatch = svg("pattern", { id: "hatch", width: 6, height: 6, patternUnits: "userSpaceOnUse" }, picture);
  svg("rect", { width: 6, height: 6, fill: "#eee" }, hatch);
  svg("path", { d: "M-1 1l2-2M0 6l6-6M5 7l2-2", stroke: "#999" }, hatch);
  const area = { x: this.left, y: TOP, width: this.width, height: this.height };
  svg("rect", { ...area, fill: "url(#hatch)" }, picture);
  svg("image", { ...area, href: canvas.toDataURL(), preserveAspectRatio: "none" }, picture);
  svg("rect", { ...area, class: "frame" }, picture);
};

heatmap.drawValues = function (picture) {
  values.forEach((row, i) => row.forEach((value, j) => {
    if (value === null) return;
    const [x, y] = [this.x(j) + this.cell / 2, this.y(i) + this.cell / 2];
    label(picture, x, y, withMinus(value.toFixed(2)) + (notAbove?.[i][j] ? "°" : ""), { fill: inkOn(color(value)) });
  }));
};

// Mark the best match of each row: by a frame, or in small cells by a dot.
heatmap.drawBest = function (picture) {
  const { cell } = this;
  best.forEach((j, i) => {
    if (j < 0) return;
    const ink = inkOn(color(values[i][j]));
    if (cell >= 14) {
      const frame = { x: this.x(j) + 2, y: this.y(i) + 2, width: cell - 4, height: cell - 4, rx: 2 };
      svg("rect", { class: "best", ...frame, fill: "none", stroke: ink, "stroke-width": 1.5 }, picture);
    } else {
      const middle = { cx: this.x(j) + cell / 2, cy: this.y(i) + cell / 2 };
      svg("circle", { class: "best", ...middle, r: Math.max(1.5, cell / 4), fill: ink }, picture);
    }
  });
};

heatmap.drawFound = function (picture) {
  const { cell, left, width, height } = this;
  for (const i of this.found.rows) svg("rect", { class: "found", x: left, y: this.y(i), width, height: cell }, picture);
  for (const j of this.found.columns) svg("rect", { class: "found", x: this.x(j), y: TOP, width: cell, height }, picture);
};

// Names and titles. They stay in sight while the map scrolls, where they leave enough of it: each group says
// in which directions it moves along, and covers what comes under it.
heatmap.drawNames = function (picture) {
  const { left, bottom, width, at } = this;
  this.sticks = left <= at.clientWidth / 2;
  const group = (moves) => svg("g", { class: "names", "data-moves": moves }, picture);
  const [rowNames, columnNames, corner, rowTitle] = [group("x"), group("-y"), group("x -y"), group("x y")];
  svg("rect", { class: "ground", x: 0, y: 0, width: left - 1, height: bottom + 1 }, rowNames);
  this.drawRowNames(rowNames);
  const edge = 5; // pixels by which the first names may stand out where cells are small
  const grounds = [
    svg("rect", { class: "ground", x: left - 1, y: bottom + 1, width: width + 1 }, columnNames),
    svg("rect", { class: "ground", x: 0, y: bottom + edge, width: left - edge }, corner),
  ];
  const below = bottom + 6 + nameAlong(columnNames, columnLabels, this.cell, left, bottom + 6, this.found.columns);
  const [right, high] = titleBelow(corner, left, Math.min(width, at.clientWidth - left - 8), below + 10, axisTitles[1]);
  const end = below + 8 + high;
  for (const rect of grounds) rect.setAttribute("height", end - bottom);
  const visible = this.zoom > 1 ? Math.min(this.height, 0.9 * innerHeight - (end - bottom)) : this.height;
  const lowest = this.drawRowTitle(rowTitle, visible);
  picture.setAttribute("width", Math.max(left + width + SCALE_ROOM, right));
  picture.setAttribute("height", Math.max(end, lowest, bottom + 74));
  at.style.scrollPadding = this.sticks ? `0 0 ${end - bottom}px ${left}px` : "";
};

heatmap.drawRowNames = function (parent) {
  for (const i of named(rows.length, this.cell, this.found.rows)) {
    const style = this.found.rows.includes(i) ? { class: "found-name" } : {};
    label(parent, this.left - 6, this.y(i) + this.cell / 2, rowLabels[i], { "text-anchor": "end", ...style });
  }
};

// Title the y axis in the middle of the `visible` pixels of it. Returns the lower end of the title.
heatmap.drawRowTitle = function (parent, visible) {
  const longest = Math.max(...this.rowTitle.map(titleWidth));
  const middle = TOP + Math.max(visible, longest) / 2;
  this.rowTitle.forEach((line, k) => {
    const x = 10 + 17 * k;
    label(parent, x, middle, line.trim(), { class: "title", transform: `rotate(-90 ${x} ${middle})` });
  });
  return middle + longest / 2 + 6;
};

// The colour scale, and what is not on it.
heatmap.drawScale = function (picture) {
  const { low, high, height, bottom } = this;
  const x = this.left + this.width + 16;
  const gradient = svg("linearGradient", { id: "scale", x1: 0, y1: 1, x2: 0, y2: 0 }, picture);
  const zero = Math.min(Math.max(-low / (high - low), 0), 1); // where it lies on the scale
  if (zero > 0) NEGATIVE.forEach((c, k) => svg("stop", { offset: k * zero, "stop-color": c }, gradient));
  MAGMA.forEach((c, k) => svg("stop", { offset: zero + ((1 - zero) * k) / 16, "stop-color": c }, gradient));
  svg("rect", { x, y: TOP, width: 14, height, fill: "url(#scale)" }, picture);
  for (const tick of height > 90 ? ticks(low, high) : [String(low), String(high)]) {
    const y = bottom - ((tick - low) / (high - low)) * height;
    label(picture, x + 20, y, withMinus(tick), { "text-anchor": "start" });
  }
  const flat = values.flat();
  const others = [];
  if (flat.some((v) => v !== null && v < low - ROUNDING)) others.push([BELOW, `below ${withMinus(String(low))}`]);
  if (flat.some((v) => v > high + ROUNDING)) others.push([`rgb(${color(high)})`, `above ${withMinus(String(high))}`]);
  if (flat.includes(null)) others.push(["url(#hatch)", "undefined"]);
  if (notAbove?.flat().includes(true)) others.push(["none", "° at chance"]);
  others.forEach(([fill, text], k) => {
    svg("rect", { x, y: bottom + 14 + 20 * k, width: 14, height: 12, fill }, picture);
    label(picture, x + 20, bottom + 20 + 20 * k, text, { "text-anchor": "start" });
  });
};

heatmap.stick = function () {
  if (!this.sticks) return;
  const { scrollLeft, scrollTop, scrollHeight, clientHeight } = this.at;
  for (const group of this.at.querySelectorAll(".names")) {
    const moves = group.dataset.moves.split(" ");
    const x = moves.includes("x") ? scrollLeft : 0;
    const y = moves.includes("y") ? scrollTop : moves.includes("-y") ? scrollTop + clientHeight - scrollHeight : 0;
    group.setAttribute("transform", `translate(${x} ${y})`);
  }
};

heatmap.at.setAttribute("aria-label", `Heat map of ${models.join(" × ")}`);

// Pointer and keys ---------------------------------------------------------------------------------------------

heatmap.point = function (i, j) {
  [this.i, this.j] = [i, j];
  const place = { x: this.x(j), y: this.y(i), visibility: "visible" };
  for (const [name, value] of Object.entries(place)) this.cursor.setAttribute(name, value);
  const box = this.cursor.getBoundingClientRect();
  showDetails(pair(i, j), box.right, box.bottom);
};

// Point at a cell that may be out of sight, and tell it to screen readers.
heatmap.visit = function (i, j) {
  this.point(i, j);
  this.cursor.scrollIntoView({ block: "nearest", inline: "nearest" });
  this.point(i, j);
  byId("spoken").textContent = pair(i, j).map((entry) => entry.join(" ")).join(", ");
};

heatmap.leave = function () {
  this.cursor.setAttribute("visibility", "hidden");
  byId("details").hidden = true;
};

function pointedAt(event) {
  if (event.target.closest(".names")) return null;
  const box = heatmap.at.firstElementChild.getBoundingClientRect();
  const j = Math.floor((event.clientX - box.left - heatmap.left) / heatmap.cell);
  const i = Math.floor((box.top + heatmap.bottom - event.clientY) / heatmap.cell);
  return i in rows && j in columns ? [i, j] : null;
}

// The cell that a key leads to from (i, j), or undefined.
function destination({ key, ctrlKey }, i, j) {
  const [top, right] = [rows.length - 1, columns.length - 1];
  const [up, down] = [(n) => Math.min(i + n, top), (n) => Math.max(i - n, 0)];
  return {
    ArrowUp: [up(1), j], ArrowDown: [down(1), j], PageUp: [up(10), j], PageDown: [down(10), j],
    ArrowRight: [i, Math.min(j + 1, right)], ArrowLeft: [i, Math.max(j - 1, 0)],
    Home: [ctrlKey ? top : i, 0], End: [ctrlKey ? 0 : i, right],
  }[key];
}

heatmap.at.addEventListener("pointermove", (event) => {
  const cell = pointedAt(event);
  if (cell) heatmap.point(...cell);
  else heatmap.leave();
});
heatmap.at.addEventListener("click", (event) => {
  const cell = pointedAt(event);
  if (!cell) return;
  heatmap.point(...cell); // a finger does not hover
  choose(cell[1]);
});
heatmap.at.addEventListener("keydown", (event) => {
  const hidden = heatmap.cursor.getAttribute("visibility") === "hidden";
  const cell = destination(event, heatmap.i, heatmap.j);
  if (event.key === "Enter") choose(heatmap.j);
  if (event.key === "+" && !event.ctrlKey) magnify(1.5);
  if (event.key === "-" && !event.ctrlKey) magnify(1 / 1.5);
  if (!cell) return;
  event.preventDefault();
  if (hidden) heatmap.visit(heatmap.i, heatmap.j); // the first key shows where it is
  else heatmap.visit(...cell);
});
heatmap.at.addEventListener("focus", () => {
  if (heatmap.at.matches(":focus-visible")) heatmap.visit(heatmap.i, heatmap.j);
});
heatmap.at.addEventListener("pointerleave", () => heatmap.leave());
heatmap.at.addEventListener("blur", () => heatmap.leave());
heatmap.at.addEventListener("scroll", () => heatmap.stick());
addEventListener("keydown", (event) => event.key === "Escape" && heatmap.leave());
addEventListener("pointerdown", (event) => heatmap.at.contains(event.target) || heatmap.leave());
addEventListener("touchmove", () => heatmap.leave(), { passive: true });
