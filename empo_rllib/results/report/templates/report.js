"use strict";

// Light or dark: what the system says, until the reader says otherwise.
(() => {
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (root.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
  const tell = () => { button.textContent = dark() ? "Light theme" : "Dark theme"; };
  // Storage is refused to files in some browsers.
  const remember = (theme) => { try { localStorage.setItem("theme", theme); } catch { /* fine */ } };
  try {
    const theme = localStorage.getItem("theme");
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  } catch { /* fine */ }
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    remember(root.dataset.theme);
    tell();
  });
  system.addEventListener("change", tell);
  button.hidden = false;
  tell();
})();

// Tables that are wider than their box say so.
(() => {
  const watcher = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const wide = target.scrollWidth > target.clientWidth;
      target.classList.toggle("wide", wide);
      target.previousElementSibling.hidden = !wide;
    }
  });
  for (const box of document.querySelectorAll(".scroll")) watcher.observe(box);
})();

// Tables: a click on a column's name sorts by it, another one the other way round.
(() => {
  const collator = new Intl.Collator(undefined, { numeric: true });
  const compare = (a, b) => {
    const [x, y] = [a.dataset.value, b.dataset.value];
    if (x !== undefined && y !== undefined) return Number(x) - Number(y);
    return collator.compare(a.textContent, b.textContent);
  };
  const missing = (cell) => cell.textContent === "–";
  const sort = (table, column, direction) => {
    const body = table.tBodies[0];
    const rows = [...body.rows];
    rows.sort((one, other) => {
      const [a, b] = [one.cells[column], other.cells[column]];
      if (missing(a) || missing(b)) return missing(a) - missing(b);
      return direction * compare(a, b);
    });
    body.append(...rows);
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      if (!head.textContent) return;
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        const ascending = head.getAttribute("aria-sort") !== "ascending";
        for (const other of heads) other.setAttribute("aria-sort", "none");
        head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
        sort(table, column, ascending ? 1 : -1);
      });
    });
  }
})();

// Curves: the pointer or the arrow keys read the values off, which are those of the table.
(() => {
  const space = "http://www.w3.org/2000/svg";
  for (const view of document.querySelectorAll(".view:has(tr[data-x])")) {
    const svg = view.querySelector("svg");
    const readout = view.querySelector(".readout");
    const rows = [...view.querySelectorAll("tr[data-x]")];
    const heads = [...view.querySelectorAll("thead th")].map((head) => head.textContent);
    const box = svg.viewBox.baseVal;
    const cursor = document.createElementNS(space, "line");
    cursor.setAttribute("class", "cursor");
    cursor.setAttribute("y1", "12");
    cursor.setAttribute("y2", String(box.height - 44));
    cursor.setAttribute("visibility", "hidden");
    svg.append(cursor);
    svg.setAttribute("tabindex", "0");
    readout.hidden = false;
    let at = -1;
    const show = (index) => {
      at = Math.max(0, Math.min(rows.length - 1, index));
      const row = rows[at];
      cursor.setAttribute("x1", row.dataset.x);
      cursor.setAttribute("x2", row.dataset.x);
      cursor.setAttribute("visibility", "visible");
      const cells = [...row.cells].map((cell) => cell.textContent);
      const values = cells.slice(1).map((text, i) => `${heads[i + 1]}: ${text}`);
      readout.textContent = `${heads[0]} ${cells[0]}; ${values.join("; ")}`;
    };
    svg.addEventListener("pointermove", (event) => {
      const frame = svg.getBoundingClientRect();
      const x = (event.clientX - frame.left) / frame.width * box.width;
      const distances = rows.map((row) => Math.abs(Number(row.dataset.x) - x));
      show(distances.indexOf(Math.min(...distances)));
    });
    svg.addEventListener("pointerleave", () => cursor.setAttribute("visibility", "hidden"));
    svg.addEventListener("keydown", (event) => {
      const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -rows.length, End: rows.length };
      if (!(event.key in steps)) return;
      event.preventDefault();
      show(at + steps[event.key]);
    });
  }
})();
