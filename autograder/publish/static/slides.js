// A slide that is taller than the screen is made smaller, down to LEAST; what is still taller then scrolls.
const HEIGHT = 720, ROOM = 676, LEAST = 0.6;

function fit(slide) {
  const box = slide?.querySelector(":scope > .slide-box");
  if (!box) return;
  box.classList.remove("scrolls");
  box.removeAttribute("tabindex");
  let zoom = 1;
  box.style.zoom = zoom;
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
