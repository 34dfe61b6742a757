// The table of contents: where the reader is, and a panel on a narrow screen. What is folded, and links into it.
(() => {
  "use strict";
  const nav = document.getElementById("contents");
  const button = document.getElementById("contents-button");

  const show = (open) => {
    nav.classList.toggle("open", open);
    button.setAttribute("aria-expanded", String(open));
  };
  button.addEventListener("click", () => show(!nav.classList.contains("open")));
  nav.addEventListener("click", (event) => { if (event.target.closest("a")) show(false); });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") show(false); });

  const links = [...nav.querySelectorAll("a")];
  const targets = links.map((link) => document.getElementById(decodeURIComponent(link.hash.slice(1))));

  const LINE = 120; // pixels from the top: what has passed it is being read
  const mark = () => {
    let current = -1;
    targets.forEach((target, place) => {
      // A folded target has no box and would seem to stand at the top.
      if (target && target.getClientRects().length && target.getBoundingClientRect().top < LINE) current = place;
    });
    nav.querySelectorAll(".current").forEach((entry) => entry.classList.remove("current"));
    let entry = links[current]?.closest("li");
    if (entry && nav.scrollHeight > nav.clientHeight) {
      const { top, bottom } = links[current].getBoundingClientRect();
      const frame = nav.getBoundingClientRect();
      if (top < frame.top || bottom > frame.bottom) nav.scrollTop += top - frame.top - frame.height / 3;
    }
    for (; entry; entry = entry.parentElement.closest("li")) entry.classList.add("current");
  };
  let waiting = false;
  addEventListener("scroll", () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; mark(); });
  }, { passive: true });
  mark();

  const unfold = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    for (let part = target.closest("details"); part; part = part.parentElement.closest("details")) part.open = true;
    target.scrollIntoView();
  };
  addEventListener("hashchange", unfold);
  unfold();

  // What is folded on a screen is printed.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    opened.forEach((part) => { part.open = true; });
  });
  addEventListener("afterprint", () => opened.forEach((part) => { part.open = false; }));

  const MANY = 3; // folded parts in a chapter that one button should open
  for (const chapter of document.querySelectorAll("section.chapter")) {
    const parts = [...chapter.querySelectorAll("details")];
    if (parts.length < MANY) continue;
    const all = document.createElement("button");
    all.type = "button";
    all.className = "all";
    const say = () => { all.textContent = parts.every((part) => part.open) ? "Close all details" : "Open all details"; };
    all.addEventListener("click", () => {
      const open = !parts.every((part) => part.open);
      parts.forEach((part) => { part.open = open; });
    });
    parts.forEach((part) => part.addEventListener("toggle", say));
    say();
    parts[0].before(all);
  }

  const LINES = 8; // a caption with more is cut to its first ones
  for (const text of document.querySelectorAll(".item.tables > p:not(.warning)")) {
    const lines = text.getBoundingClientRect().height / parseFloat(getComputedStyle(text).lineHeight);
    if (lines <= LINES) continue;
    const more = document.createElement("button");
    more.type = "button";
    more.className = "more";
    const cut = (is) => {
      text.classList.toggle("clamped", is);
      more.textContent = is ? "Show the whole caption" : "Show less";
      more.setAttribute("aria-expanded", String(!is));
    };
    more.addEventListener("click", () => cut(!text.classList.contains("clamped")));
    text.after(more);
    cut(true);
  }
})();
