// SPDX-License-Identifier: BSD-3-Clause
// Many models: show the pair that the address names, as #i,j. Runs before the scripts of a pair, which read the
// page as they find it: another choice loads the page again, and the browser's history works.
"use strict";

{
  const byId = (id) => document.getElementById(id);
  const template = byId(`pair-${location.hash.slice(1)}`);
  for (const part of template?.content.children ?? []) byId(part.dataset.part).replaceChildren(...part.childNodes);

  const pair = template ? location.hash.slice(1) : "0,1"; // which the page holds as it is written
  const chosen = [byId("row-model-chosen"), byId("column-model-chosen")];
  pair.split(",").forEach((k, side) => (chosen[side].value = k));
  for (const select of chosen) {
    select.addEventListener("change", () => (location.hash = chosen.map(({ value }) => value).join(",")));
  }
  byId("summary").querySelector(`a[href="#${pair}"]`).setAttribute("aria-current", "true");
  addEventListener("hashchange", () => location.reload());

  addEventListener("DOMContentLoaded", () => { // by then, heatmap.js has its colours
    for (const link of byId("summary").querySelectorAll("a")) {
      const value = Number(link.textContent);
      if (Number.isNaN(value)) continue;
      const shade = color(value);
      link.parentElement.style.background = `rgb(${shade})`;
      link.style.color = inkOn(shade);
    }
  });
}
