//<![CDATA[
// A click on a frame makes it as wide as the picture, a click on the background undoes that; the pointer shows whole names.
"use strict";
const MARGIN = 12, WIDTH = 1176, CHARACTER = 6.6;
const said = document.getElementById("said");
const frames = Array.from(document.querySelectorAll("#frames .frame"), (g) => {
  const rect = g.querySelector("rect");
  return { g, rect, text: g.querySelector("text"), x: +rect.getAttribute("x"), width: +rect.getAttribute("width") };
});
const hint = "click a frame to zoom, the background to go back";
said.textContent = hint;
function show(left, width) {
  for (const f of frames) {
    const from = Math.max(f.x, left), to = Math.min(f.x + f.width, left + width);
    const scale = WIDTH / width, x = MARGIN + (from - left) * scale, w = (to - from) * scale;
    f.g.style.display = w < 0.3 ? "none" : "";
    f.rect.setAttribute("x", x);
    f.rect.setAttribute("width", Math.max(w, 0));
    f.text.setAttribute("x", x + 4);
    const room = Math.floor((w - 8) / CHARACTER), name = f.g.dataset.name;
    f.text.textContent = room <= 3 ? "" : name.length <= room ? name : "…" + name.slice(name.length - room + 1);
  }
}
for (const f of frames) {
  f.g.addEventListener("click", () => show(f.x, f.width));
  f.g.addEventListener("pointerenter", () => { said.textContent = f.g.querySelector("title").textContent; });
  f.g.addEventListener("pointerleave", () => { said.textContent = hint; });
}
document.querySelector(".back").addEventListener("click", () => show(MARGIN, WIDTH));
//]]>
