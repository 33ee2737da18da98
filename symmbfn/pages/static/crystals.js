"use strict";
{
  // all rows are data, and only those in sight are elements of the page
  const HEIGHT = 30, SPARE = 8; // pixels of a row; rows drawn above and below those in sight
  const data = JSON.parse(document.getElementById("crystals-data").textContent);
  const $ = id => document.getElementById(id);
  const box = $("crystals-box"), body = $("crystals-rows"), heads = [...document.querySelectorAll("#crystals-head th")];
  const state = { column: 0, sign: 1, rows: data.rows, top: -1 };

  const collator = new Intl.Collator("en", { numeric: true });
  const compare = (a, b) => typeof a === "number" ? a - b : collator.compare(a, b);

  function holds(row, word) {
    const formula = row[1].toLowerCase(), elements = row[1].match(/[A-Z][a-z]?/g) || [];
    return elements.includes(word) || formula === word.toLowerCase() || String(row[2]) === word
      || (data.symbols[row[2]] || "").toLowerCase() === word.toLowerCase();
  }

  // what is not known comes last, whichever way the others go
  function order() {
    const k = state.column;
    const words = $("crystals-search").value.split(/[\s,]+/).filter(word => word);
    state.rows = data.rows.filter(row => words.every(word => holds(row, word)));
    state.rows.sort((a, b) => (a[k] === null) - (b[k] === null) ||
      (a[k] === null ? 0 : state.sign * compare(a[k], b[k])) || a[0] - b[0]);
    heads.forEach((head, i) => {
      if (i < data.columns.length) head.setAttribute("aria-sort",
        i !== k ? "none" : state.sign > 0 ? "ascending" : "descending");
    });
    $("crystals-count").textContent =
      `${state.rows.length.toLocaleString("en")} of ${data.rows.length.toLocaleString("en")} crystals`;
    $("crystals-table").setAttribute("aria-rowcount", state.rows.length + 1);
    state.top = -1;
    box.scrollTop = 0;
    draw();
  }

  function filler(n) {
    const row = document.createElement("tr");
    row.setAttribute("aria-hidden", "true");
    row.className = "filler";
    row.appendChild(document.createElement("td")).style.height = `${n * HEIGHT}px`;
    return row;
  }

  function text(value, column) {
    if (value === null) return "–";
    if (column.kind === "group") return `${data.symbols[value]} (${value})`;
    if (column.kind === "number" && column.decimals) return value.toFixed(column.decimals).replace("-", "−");
    return String(value);
  }

  function formula(cell, value) {
    for (const part of value.split(/(\d+)/)) {
      const holder = /^\d+$/.test(part) ? cell.appendChild(document.createElement("sub")) : cell;
      holder.append(part);
    }
  }

  function element(row, place) {
    const line = document.createElement("tr");
    line.setAttribute("aria-rowindex", place + 2);
    data.columns.forEach((column, i) => {
      const cell = line.appendChild(document.createElement("td"));
      if (column.kind !== "number") cell.className = "words";
      if (column.kind === "formula" && row[i]) formula(cell, row[i]);
      else cell.textContent = text(row[i] === "" ? null : row[i], column);
    });
    const last = line.appendChild(document.createElement("td"));
    const path = row[data.columns.length];
    if (path) {
      const link = last.appendChild(document.createElement("a"));
      link.href = path;
      link.textContent = "CIF";
      link.setAttribute("aria-label", `CIF of crystal ${row[0]}`);
    }
    return line;
  }

  function draw() {
    const top = Math.max(0, Math.floor(box.scrollTop / HEIGHT) - SPARE);
    if (top === state.top) return;
    state.top = top;
    const end = Math.min(state.rows.length, top + Math.ceil(box.clientHeight / HEIGHT) + 2 * SPARE);
    const lines = state.rows.slice(top, end).map((row, i) => element(row, top + i));
    const focused = body.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    body.replaceChildren(filler(top), ...lines, filler(state.rows.length - end));
    const again = focused && [...body.querySelectorAll("a")].find(link => link.getAttribute("href") === focused);
    if (again) again.focus({ preventScroll: true });
  }

  heads.forEach((head, i) => {
    const button = head.querySelector("button");
    if (button) button.onclick = () => {
      state.sign = i === state.column ? -state.sign : 1;
      state.column = i;
      order();
    };
  });
  $("crystals-search").oninput = order;
  box.addEventListener("scroll", draw, { passive: true });
  new ResizeObserver(() => { state.top = -1; draw(); }).observe(box);
  order();
}
