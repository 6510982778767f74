"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = (row) => row.cells[column] ? row.cells[column].textContent.trim() : "";
      const number = (text) => { const found = /[-+\u2212]?\d[\d\u202f]*(\.\d+)?(e[-+]?\d+)?/.exec(text); return found ? Number(found[0].replace(/\u202f/g, "").replace("\u2212", "-")) : NaN; };
      const groups = [];
      for (const row of body.rows) {
        if (row.cells.length < heads.length && groups.length) groups[groups.length - 1].push(row);
        else groups.push([row]);
      }
      const keys = new Map(groups.map((group) => [group, key(group[0])]));
      const numeric = groups.every((group) => !Number.isNaN(number(keys.get(group))) || keys.get(group) === "");
      groups.sort((a, b) => {
        const x = keys.get(a), y = keys.get(b);
        const order = numeric ? number(x) - number(y) : x.localeCompare(y);
        return (up ? 1 : -1) * (order || 0);
      });
      for (const group of groups) body.append(...group);
    });
  });
}
for (const box of document.querySelectorAll(".scroll")) {
  const mark = () => box.classList.toggle("wider", box.scrollWidth > box.clientWidth + 1);
  mark();
  window.addEventListener("resize", mark);
}
