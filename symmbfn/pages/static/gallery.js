"use strict";
const run = JSON.parse(document.getElementById("run").textContent);
const $ = id => document.getElementById(id);
const SYSTEMS = [["triclinic", 2], ["monoclinic", 15], ["orthorhombic", 74], ["tetragonal", 142],
  ["trigonal", 167], ["hexagonal", 194], ["cubic", 230]];
const system = g => SYSTEMS.find(s => g <= s[1])[0];
// texts go into innerHTML: nothing of them may be read as HTML
const ESCAPED = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;" };
const text = s => String(s).replace(/[&<>"']/g, c => ESCAPED[c]);
const subs = f => text(f).replace(/\d+/g, "<sub>$&</sub>");
const symbol = s => '<span class="symbol">' + text(s).replace(/_(\d)|-(\d)|([A-Za-z])/g, (all, sub, bar, letter) =>
  sub ? `<sub>${sub}</sub>` : bar ? `<span class="bar">${bar}</span>` : `<i>${letter}</i>`) + "</span>";
const SHORT = run.contact;
const state = { current: null, spin: false, repeat: 1, scale: 1, viewer: null };

const here = new Set(run.crystals.map(c => system(c.g)));
$("system").innerHTML = '<option value="">all crystal systems</option>' +
  SYSTEMS.filter(s => here.has(s[0])).map(s => `<option>${s[0]}</option>`).join("");

for (const c of run.crystals) {
  const card = document.createElement("button");
  card.type = "button";
  card.className = "card";
  card.setAttribute("aria-pressed", "false");
  card.innerHTML = `${c.svg}<b>${subs(c.f)}</b><small>${symbol(c.sg)} (${c.g})</small>` +
    `<small class="${c.q < SHORT ? "warn" : ""}">${c.rho.toFixed(2)} g/cm³` +
    (c.q < SHORT ? ", short contact" : "") + "</small>";
  card.onclick = () => { show(c); if (innerWidth <= 860) scrollTo({ top: 0, behavior: "smooth" }); };
  c.card = card;
}

function fits(c) {
  if ($("system").value && system(c.g) !== $("system").value) return false;
  if ($("clean").checked && c.q < SHORT) return false;
  const symbols = new Set(c.sites.map(s => s[0]));
  return $("search").value.split(/[\s,]+/).filter(Boolean).every(word =>
    symbols.has(word) || String(c.g) === word || c.sg.replace(/_/g, "").toLowerCase() === word.replace(/_/g, "").toLowerCase()
    || (/[a-z]/i.test(word) && c.f.toLowerCase().includes(word.toLowerCase()) && !run.balls[word]));
}

function list() {
  const key = $("order").value;
  const chosen = run.crystals.filter(fits).sort((a, b) =>
    key === "f" ? a.f.localeCompare(b.f) : a[key] - b[key] || a.i - b.i);
  $("cards").replaceChildren(...chosen.map(c => c.card));
  $("none").hidden = chosen.length > 0;
  return chosen;
}

function atoms(c, repeat) {
  const out = [], eps = 0.01;
  for (const [e, ...f] of c.atoms)
    for (let i = -1; i <= repeat; i++) for (let j = -1; j <= repeat; j++) for (let k = -1; k <= repeat; k++) {
      const u = [f[0] + i, f[1] + j, f[2] + k];
      if (u.some(x => x < -eps || x > repeat + eps)) continue;
      out.push([e, ...[0, 1, 2].map(x => u[0] * c.m[0][x] + u[1] * c.m[1][x] + u[2] * c.m[2][x])]);
    }
  return out;
}

function draw() {
  const c = state.current, v = state.viewer;
  if (!v) { $("view").innerHTML = c.svg; return; }
  v.removeAllModels();
  v.removeAllShapes();
  const model = v.addModel();
  model.addAtoms(atoms(c, state.repeat).map(([elem, x, y, z]) => ({ elem, x, y, z })));
  for (const s of new Set(c.atoms.map(a => a[0])))
    v.setStyle({ elem: s }, { sphere: { color: run.balls[s][0], radius: state.scale * run.balls[s][1] } });
  const at = u => ({ x: 0, y: 0, z: 0, ...Object.fromEntries(["x", "y", "z"].map((n, x) =>
    [n, u[0] * c.m[0][x] + u[1] * c.m[1][x] + u[2] * c.m[2][x]])) });
  const size = Math.max(...c.m.map(row => Math.hypot(...row)));
  for (let i = 0; i < 8; i++) for (let k = 0; k < 3; k++) {
    if (i >> k & 1) continue;
    const p = [i & 1, i >> 1 & 1, i >> 2 & 1], q = p.slice();
    q[k] = 1;
    v.addCylinder({ start: at(p), end: at(q), radius: 0.0045 * size * state.repeat,
      fromCap: 1, toCap: 1, color: run.edge });
  }
  v.setProjection("orthographic");
  v.zoomTo();
  v.zoom(1.3);
  v.render();
}

function facts(c) {
  const cell = c.cell.map((x, i) => i < 3 ? x.toFixed(3) : x.toFixed(2));
  const found = c.found === c.g ? "" : `; found: ${symbol(c.foundsg)} (${c.found}), a supergroup`;
  const keys = [...new Set(c.atoms.map(a => a[0]))].map(s =>
    `<span class="key"><i style="background:${run.balls[s][0]}"></i>${text(s)}</span>`).join("");
  const rows = c.sites.map(([e, w, x, y, z]) =>
    `<tr><td>${text(e)}</td><td>${text(w)}</td><td>${[x, y, z].map(u => u.toFixed(4)).join("</td><td>")}</td></tr>`);
  $("facts").innerHTML = `<h2>${subs(c.f)}</h2><p>${symbol(c.sg)} (${c.g}), ${system(c.g)}${found}</p>` +
    `<p>${keys}</p>` +
    `<table><tr><th>a, b, c / Å</th><td>${cell.slice(0, 3).join(", ")}</td></tr>` +
    `<tr><th>α, β, γ / °</th><td>${cell.slice(3).join(", ")}</td></tr>` +
    `<tr><th>density / g cm⁻³</th><td>${c.rho.toFixed(3)}</td></tr>` +
    `<tr><th>atoms, volume / Å³</th><td>${c.n}, ${c.v.toFixed(1)}</td></tr>` +
    `<tr><th>shortest distance / Å</th><td class="${c.q < SHORT ? "warn" : ""}">${c.d.toFixed(2)}, ` +
    `${c.q.toFixed(2)} of the radii's sum</td></tr></table>` +
    `<p style="margin-top:.7rem">Sites of the asymmetric unit</p>` +
    `<table><tr><th></th><th>Wyckoff</th><th>x</th><th>y</th><th>z</th></tr>${rows.join("")}</table>`;
  $("cif").href = c.cif;
}

function show(c) {
  if (state.current) state.current.card.setAttribute("aria-pressed", "false");
  state.current = c;
  c.card.setAttribute("aria-pressed", "true");
  facts(c);
  draw();
}

function press(id, change) {
  $(id).onclick = () => {
    const on = $(id).getAttribute("aria-pressed") !== "true";
    $(id).setAttribute("aria-pressed", on);
    change(on);
  };
}
press("spin", on => state.viewer && state.viewer.spin(on ? "y" : false, 0.6));
press("repeat", on => { state.repeat = on ? 2 : 1; draw(); });
press("large", on => { state.scale = on ? 1.9 : 1; draw(); });
for (const id of ["search", "system", "order", "clean"]) $(id).oninput = list;
addEventListener("keydown", event => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step || /INPUT|SELECT/.test(document.activeElement.tagName)) return;
  const chosen = [...$("cards").children], at = chosen.indexOf(state.current && state.current.card);
  const next = chosen[at + step];
  if (next) { next.click(); next.focus(); }
});

try {
  state.viewer = $3Dmol.createViewer($("view"), { backgroundColor: "white", disableFog: true });
  if (!state.viewer) throw new Error("no viewer");
  addEventListener("resize", () => { state.viewer.resize(); state.viewer.render(); });
} catch (error) {
  state.viewer = null;
  $("tools").querySelectorAll("button").forEach(b => { b.hidden = true; });
  $("nowebgl").hidden = false;
}
const first = list();
if (first.length) show(first[0]);
else document.querySelector("aside").hidden = true;
