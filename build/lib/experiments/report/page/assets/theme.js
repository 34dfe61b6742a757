// Light or dark: what the system says, until the reader says otherwise; remembered where the browser allows it.
(() => {
  "use strict";
  const KEY = "report-theme";
  const root = document.documentElement;
  root.classList.add("js");

  // A page opened from a file may have no storage: reading it throws then.
  const recall = () => { try { return localStorage.getItem(KEY); } catch { return null; } };
  const remember = (theme) => { try { localStorage.setItem(KEY, theme); } catch { /* not remembered */ } };

  const chosen = recall();
  if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;

  document.addEventListener("DOMContentLoaded", () => {
    document.getElementById("theme-button").addEventListener("click", () => {
      const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
      const now = root.dataset.theme ?? system;
      root.dataset.theme = now === "dark" ? "light" : "dark";
      remember(root.dataset.theme);
    });
  });
})();
