// SPDX-License-Identifier: BSD-3-Clause
// The tools beside the heat map: zoom, colour scale, search, export. Last in the script: starts the page.

// Magnify the map, or make it smaller again, about the middle of what is seen of it.
function magnify(factor) {
  const { at, cell } = heatmap;
  const pointing = heatmap.cursor.getAttribute("visibility") === "visible";
  const [x, y] = [at.scrollLeft + at.clientWidth / 2 - heatmap.left, at.scrollTop + at.clientHeight / 2 - TOP];
  heatmap.zoom = Math.min(Math.max(1, heatmap.zoom * factor), Math.max(1, heatmap.zoom, (48 / cell) * heatmap.zoom));
  if (Math.abs(heatmap.zoom - 1) < 1e-3) heatmap.zoom = 1;
  at.classList.toggle("magnified", heatmap.zoom > 1);
  redraw(heatmap);
  const grown = heatmap.cell / cell;
  at.scrollTo(x * grown + heatmap.left - at.clientWidth / 2, y * grown + TOP - at.clientHeight / 2);
  byId("smaller").disabled = heatmap.zoom === 1;
  byId("larger").disabled = heatmap.cell >= 48;
  if (pointing) heatmap.visit(heatmap.i, heatmap.j);
}

byId("larger").addEventListener("click", () => magnify(1.5));
byId("smaller").addEventListener("click", () => magnify(1 / 1.5));
byId("mark").addEventListener("change", () => redraw(heatmap));

function setRange(low, high) {
  const valid = low < high;
  for (const id of ["low", "high"]) byId(id).setCustomValidity(valid ? "" : "the scale must begin below its end");
  if (!valid) return;
  [heatmap.low, heatmap.high] = [low, high];
  redraw(heatmap);
}

function showRange(low, high) {
  [byId("low").value, byId("high").value] = [low, high];
  setRange(low, high);
}

for (const id of ["low", "high"]) {
  byId(id).addEventListener("input", () => setRange(byId("low").valueAsNumber, byId("high").valueAsNumber));
}
byId("whole").addEventListener("click", () => showRange(0, 1));
byId("fit").addEventListener("click", () => {
  const defined = values.flat().filter((v) => v !== null);
  if (!defined.length) return;
  const low = Math.floor(100 * defined.reduce((a, b) => Math.min(a, b)) + ROUNDING) / 100;
  const high = Math.ceil(100 * defined.reduce((a, b) => Math.max(a, b)) - ROUNDING) / 100;
  showRange(low, high > low ? high : low + 0.01);
});

// Search: names that hold the text are marked in the map, the table of best matches shows no others.
function search() {
  const text = byId("search").value.trim().toLowerCase();
  const holds = (name) => name.toLowerCase().includes(text);
  const among = (names) => (text ? [...names.keys()].filter((k) => holds(names[k])) : []);
  heatmap.found = { rows: among(rows), columns: among(columns) };
  heatmap.next = 0;
  const counts = [["row", heatmap.found.rows.length], ["column", heatmap.found.columns.length]];
  byId("found").textContent = text ? counts.map(([word, n]) => `${n} ${word}${n === 1 ? "" : "s"}`).join(", ") : "";
  for (const line of document.querySelectorAll("#matches tbody tr")) {
    line.hidden = ![0, 1].some((k) => holds(line.cells[k].textContent));
  }
  redraw(heatmap);
}

// Go to the next layer that was found: to its highest value.
function visitFound() {
  const highest = (j) => values.reduce((top, row, i) => ((row[j] ?? -Infinity) > (values[top][j] ?? -Infinity) ? i : top), 0);
  const cells = [
    ...heatmap.found.rows.map((i) => [i, Math.max(best[i], 0)]),
    ...heatmap.found.columns.map((j) => [highest(j), j]),
  ];
  if (cells.length) heatmap.visit(...cells[heatmap.next++ % cells.length]);
}

byId("search").addEventListener("input", search);
byId("search").addEventListener("keydown", (event) => event.key === "Enter" && visitFound());

// The map as a drawing: rectangles for the pixels, and the colours of print.
const PRINTED = "svg{font:12px sans-serif;fill:#1b1b1f}.title{font-size:14px}.frame{fill:none;stroke:#1b1b1f}"
  + ".found{fill:none;stroke:#2a7de1;stroke-width:2}.found-name{font-weight:bold}";

function asDrawing() {
  const drawing = heatmap.at.firstElementChild.cloneNode(true);
  drawing.querySelectorAll(".cursor, .ground").forEach((element) => element.remove());
  drawing.querySelectorAll(".names").forEach((group) => group.removeAttribute("transform"));
  drawing.setAttribute("viewBox", `0 0 ${drawing.getAttribute("width")} ${drawing.getAttribute("height")}`);
  const cells = svg("g", { "shape-rendering": "crispEdges" }, drawing);
  values.forEach((row, i) => row.forEach((value, j) => {
    const place = { x: heatmap.x(j), y: heatmap.y(i), width: heatmap.cell, height: heatmap.cell };
    if (value !== null) svg("rect", { ...place, fill: `rgb(${color(value)})` }, cells);
  }));
  drawing.querySelector("image").replaceWith(cells);
  svg("style", {}, drawing, PRINTED);
  return new XMLSerializer().serializeToString(drawing);
}

byId("svg").addEventListener("click", () => download(asDrawing(), "image/svg+xml", "svg"));

// Start --------------------------------------------------------------------------------------------------------

redraw(heatmap, curve);
let drawnAt = innerWidth;
addEventListener("resize", () => { // a phone's bars come and go and change the height alone
  if (innerWidth !== drawnAt) redraw(heatmap, curve);
  drawnAt = innerWidth;
});
