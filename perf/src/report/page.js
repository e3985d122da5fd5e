// The values under the pointer in line charts. All of it is in the page already; this only shows it.
"use strict";
(() => {
  const tip = document.getElementById("tip");
  const time = (us) => us >= 1e6 ? (us / 1e6).toPrecision(3) + " s" : us >= 1e3 ? (us / 1e3).toPrecision(3) + " ms" : us.toPrecision(3) + " µs";
  for (const svg of document.querySelectorAll("svg.lines")) {
    const hair = svg.querySelector(".hair");
    const memory = svg.getAttribute("aria-label").startsWith("Memory");
    const lines = Array.from(svg.querySelectorAll("polyline"), (line) => ({
      name: line.dataset.name,
      values: line.dataset.values.split(" ").map(Number),
      points: line.getAttribute("points").split(" ").map((p) => p.split(",").map(Number)),
    }));
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const x = (event.clientX - box.left) * svg.viewBox.baseVal.width / box.width;
      const rows = [];
      for (const { name, values, points } of lines) {
        const near = points.reduce((best, p, i) => Math.abs(p[0] - x) < Math.abs(points[best][0] - x) ? i : best, 0);
        if (Math.abs(points[near][0] - x) < 30) rows.push([values[near], name]);
      }
      if (rows.length === 0) return leave();
      rows.sort((a, b) => b[0] - a[0]);
      tip.textContent = rows.map(([v, name]) => name + "  " + (memory ? v.toPrecision(3) + " MiB" : time(v))).join("\n");
      tip.hidden = false;
      tip.style.left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8) + "px";
      tip.style.top = event.clientY + 14 + "px";
      hair.setAttribute("x1", x);
      hair.setAttribute("x2", x);
      hair.style.visibility = "visible";
    });
    const leave = () => { tip.hidden = true; hair.style.visibility = "hidden"; };
    svg.addEventListener("pointerleave", leave);
  }
})();
