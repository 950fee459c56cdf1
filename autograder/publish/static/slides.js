// Plots fill what the rest of a slide leaves, but for LEAST_PLOT. A slide that is still taller than the screen is made
// smaller, down to LEAST; what is taller even then scrolls.
const HEIGHT = 720, ROOM = 676, LEAST = 0.6, LEAST_PLOT = 330;

function fill(box) {
  const plots = box.querySelectorAll("img.course-plot");
  for (const plot of plots) plot.style.height = 0;
  const room = (ROOM - box.scrollHeight) / plots.length;
  for (const plot of plots) plot.style.height = `${Math.max(LEAST_PLOT / Math.sqrt(plots.length), room)}px`;
}

function fit(slide) {
  const box = slide?.querySelector(":scope > .slide-box");
  if (!box) return;
  box.classList.remove("scrolls");
  box.removeAttribute("tabindex");
  let zoom = 1;
  box.style.zoom = zoom;
  fill(box);
  while (box.scrollHeight * zoom > ROOM && zoom > LEAST) {
    zoom = Math.max(LEAST, zoom - 0.04);
    box.style.zoom = zoom;
  }
  if (box.scrollHeight * zoom > ROOM) {
    box.classList.add("scrolls");
    box.style.maxHeight = `${ROOM / zoom}px`;
    box.setAttribute("tabindex", "0");
  }
}

for (const slide of document.querySelectorAll(".slides section")) {
  if (slide.querySelector(":scope > section")) continue;
  const box = document.createElement("div");
  box.className = "slide-box";
  const notes = slide.querySelectorAll("aside.notes");
  box.append(...slide.childNodes);
  const results = box.querySelector(".jp-OutputArea-output");
  for (const code of box.querySelectorAll(".course-code")) code.open = !results;  // what there is to see
  slide.append(box, ...notes);
}

Reveal.initialize({
  width: 1280, height: HEIGHT, margin: 0.02, center: false, hash: true, transition: "none",
  slideNumber: "c/t", pdfMaxPagesPerSlide: 1, plugins: [RevealNotes],
});
const refit = () => fit(Reveal.getCurrentSlide());
for (const event of ["ready", "slidechanged", "resize"]) Reveal.on(event, refit);
document.addEventListener("toggle", refit, true);  // an answer that unfolds
window.addEventListener("load", () => window.MathJax?.startup?.promise?.then(refit));
