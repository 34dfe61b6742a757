// Tables: a click on a header sorts (up, down, as it was); a long table has a box to filter its rows.
(() => {
  "use strict";
  const LONG = 12; // rows
  const ABSENT = /^(?:|[-–—]|n\/a|not applicable|(?:missing|none|none corrected)\s*[†✓✗]?)$/i;
  const NEVER = /^(?:never|∞|inf(?:inity)?)(?:$|\s)/i;
  // "-0.029 ± 0.066", "<0.001", "54,000", "1.8e-05 [1.2e-05, 2.5e-05]", "[4, 9]", "17.93 %", "2nd", "3 of 12";
  // not "784-12-8-10" and not "7948a9".
  const NUMBER = new RegExp(
    "^[[(]?\\s*([<>≤≥~≈]?)\\s*" +
    "([+-]?(?:\\d{1,3}(?:,\\d{3})+(?!\\d)|\\d+)?(?:\\.\\d+)?(?:e[+-]?\\d+)?)" +
    "(?=$|[\\s±%†✓✗×,;:\\])–]|(?:st|nd|rd|th)\\b)", "i");

  /** Return [number, -1 or 0 or 1 for less than, equal, more than], or null for what is no number. */
  const parse = (text) => {
    if (NEVER.test(text)) return [Infinity, 0];
    const [, relation, digits] = NUMBER.exec(text.replaceAll("−", "-")) ?? [];
    if (!digits || !/\d/.test(digits)) return null;
    return [Number(digits.replaceAll(",", "")), relation === "<" ? -1 : relation === ">" ? 1 : 0];
  };
  const words = (cell) => (cell?.dataset.ditto ?? cell?.textContent ?? "").trim();

  const byNumber = (a, b) => (a[0] === b[0] ? a[1] - b[1] : a[0] < b[0] ? -1 : 1);
  const byText = new Intl.Collator("en", { numeric: true, sensitivity: "base" }).compare;

  /** Return the rows by one column; direction 1 or -1. What is absent comes last either way. */
  const sorted = (rows, column, direction) => {
    const texts = rows.map((row) => words(row.cells[column]));
    const numbers = texts.map(parse);
    const known = texts.filter((text) => !ABSENT.test(text)).length;
    const numeric = known > 0 && 2 * numbers.filter(Boolean).length >= known;
    const keys = numeric ? numbers : texts.map((text) => (ABSENT.test(text) ? null : text));
    const compare = numeric ? byNumber : byText;
    const there = rows.map((_, place) => place).filter((place) => keys[place] !== null);
    const absent = rows.filter((_, place) => keys[place] === null);
    there.sort((a, b) => direction * compare(keys[a], keys[b]) || a - b);
    return [...there.map((place) => rows[place]), ...absent];
  };

  const makeSortable = (table) => {
    const body = table.tBodies[0];
    const headers = [...(table.tHead?.rows[0]?.cells ?? [])];
    if (!body || body.rows.length < 2) return;
    const original = [...body.rows];
    headers.forEach((header, column) => {
      const button = document.createElement("button");
      button.type = "button";
      if (!header.textContent.trim()) button.setAttribute("aria-label", `Column ${column + 1}`);
      button.title = "Sort by this column";
      button.append(...header.childNodes);
      header.append(button);
      header.scope = "col";
      button.addEventListener("click", () => {
        const next = { none: "ascending", ascending: "descending", descending: "none" };
        const order = next[header.getAttribute("aria-sort") ?? "none"];
        headers.forEach((other) => other.removeAttribute("aria-sort"));
        if (order !== "none") header.setAttribute("aria-sort", order);
        table.classList.toggle("sorted", order !== "none");
        const direction = order === "ascending" ? 1 : -1;
        body.append(...(order === "none" ? original : sorted(original, column, direction)));
      });
    });
  };

  const makeFilter = (table) => {
    const rows = [...(table.tBodies[0]?.rows ?? [])];
    if (rows.length < LONG) return;
    const tools = document.createElement("div");
    tools.className = "tools";
    const input = Object.assign(document.createElement("input"), { type: "search", placeholder: "Filter rows" });
    input.setAttribute("aria-label", "Filter rows: all words must occur");
    const count = document.createElement("output");
    tools.append(input, count);
    table.closest(".box").before(tools);
    const contents = rows.map((row) => [...row.cells].map(words).join(" ").toLowerCase());
    const filter = () => {
      const asked = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      rows.forEach((row, place) => {
        row.hidden = !asked.every((word) => contents[place].includes(word));
        shown += !row.hidden;
      });
      table.classList.toggle("filtered", asked.length > 0);
      count.textContent = asked.length ? `${shown} of ${rows.length} rows` : `${rows.length} rows`;
    };
    input.addEventListener("input", filter);
    filter();
  };

  /** Fade the right edge of a table as long as there is more of it. */
  const showBeyond = (box) => {
    const update = () => box.classList.toggle("beyond", box.scrollLeft + box.clientWidth < box.scrollWidth - 1);
    box.addEventListener("scroll", update, { passive: true });
    new ResizeObserver(update).observe(box);
  };

  for (const table of document.querySelectorAll(".box > table:not(:has(img))")) {
    makeSortable(table);
    makeFilter(table);
    showBeyond(table.parentElement);
  }
})();
