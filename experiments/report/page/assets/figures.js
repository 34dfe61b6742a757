// Figures: a click enlarges; arrow keys go on and back, Escape closes.
(() => {
  "use strict";
  const viewer = document.getElementById("viewer");
  const image = viewer.querySelector("img");
  const caption = viewer.querySelector("p");
  const count = viewer.querySelector("output");
  const zoom = viewer.querySelector("[data-do=zoom]");
  const figures = [...document.querySelectorAll("main img:not(table img)")];
  let shown = 0;

  const setFull = (full) => {
    viewer.classList.toggle("full", full);
    zoom.textContent = full ? "Fit" : "Full size";
    zoom.setAttribute("aria-label", full ? "Fit to the screen" : "Full size");
  };
  const show = (place) => {
    shown = (place + figures.length) % figures.length;
    setFull(false);
    image.src = figures[shown].src;
    image.alt = figures[shown].alt;
    const below = figures[shown].closest("p")?.nextElementSibling;
    caption.textContent = below?.matches("p") ? below.textContent : figures[shown].alt;
    count.textContent = `${shown + 1} of ${figures.length}`;
  };
  const does = {
    close: () => viewer.close(),
    next: () => show(shown + 1),
    previous: () => show(shown - 1),
    zoom: () => setFull(!viewer.classList.contains("full")),
  };

  figures.forEach((figure, place) => {
    const open = () => { show(place); viewer.showModal(); };
    figure.tabIndex = 0;
    figure.setAttribute("role", "button");
    figure.setAttribute("aria-label", `Enlarge: ${figure.alt}`);
    figure.addEventListener("click", open);
    figure.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); open(); }
    });
  });
  image.addEventListener("click", does.zoom);
  viewer.addEventListener("click", (event) => {
    const asked = event.target.closest("[data-do]")?.dataset.do;
    if (asked) does[asked]();
    else if (event.target === viewer || event.target.classList.contains("stage")) viewer.close();
  });
  viewer.addEventListener("keydown", (event) => {
    if (event.key === "ArrowRight") does.next();
    else if (event.key === "ArrowLeft") does.previous();
  });
  // The reader is left at the figure seen last.
  viewer.addEventListener("close", () => {
    figures[shown].scrollIntoView({ block: "nearest" });
    figures[shown].focus({ preventScroll: true });
  });
})();
