// The table, the marked trial, the keyboard; and when each plot is drawn anew.
"use strict";
const bodies = [...document.querySelectorAll("tbody[data-trial]")];
const bodyOf = new Map(bodies.map((body) => [Number(body.dataset.trial), body]));
const heads = [...document.querySelectorAll("#table th")];
const BUTTONS = [["toImage", "zoom2d", "pan2d", "resetScale2d"]]; // none of those that would send something away
const CONFIG = { responsive: true, displaylogo: false, modeBarButtons: BUTTONS, doubleClick: "reset" };

// ---- drawing, a plot at a time, those on the screen first ----

const waiting = new Set();
let busy = false;

function redraw(names = Object.keys(PLOTS)) {
  names.filter((name) => byId(`plot-${name}`)).forEach((name) => waiting.add(name)); // a page has not all of them
  if (!busy) {
    busy = true;
    setTimeout(drawNext);
  }
}

function drawNext() {
  const inView = (name) => {
    const box = byId(`plot-${name}`).getBoundingClientRect();
    return box.bottom > 0 && box.top < innerHeight;
  };
  const name = [...waiting].find(inView) || [...waiting][0];
  if (name === undefined) {
    busy = false;
    document.documentElement.dataset.ready ||= Math.round(performance.now()); // ms; tests read it
    return;
  }
  waiting.delete(name);
  const place = byId(`plot-${name}`), made = PLOTS[name]();
  place.classList.toggle("empty", made === null);
  if (made !== null) {
    const first = !place.data;
    const fixed = name === "parallel" || name === "importance"; // nothing to zoom
    Plotly.react(place, made.traces, made.layout, fixed ? { ...CONFIG, modeBarButtons: [["toImage"]] } : CONFIG);
    if (first) listen(place, name);
  }
  setTimeout(drawNext);
}

function listen(place, name) {
  if (name === "codes") {
    place.on("plotly_hover", (event) => showImage(event.points[0], event.event));
    place.on("plotly_unhover", () => (byId("image").hidden = true));
    return;
  }
  place.on("plotly_click", (event) => {
    const number = event.points.map((point) => point.customdata).find((one) => trialOf.has(one));
    if (number !== undefined) mark(number);
  });
  if (name === "parallel") {
    place.on("plotly_selected", brushed);
    place.on("plotly_deselect", clearBrush);
    place.on("plotly_doubleclick", clearBrush);
  }
}

function clearBrush() {
  if (!Object.keys(shared.brush).length) return;
  shared.brush = {};
  changed();
}

function showImage(point, pointer) {
  const images = data.codes.images, place = byId("image");
  if (!images || !Number.isInteger(point.customdata)) return;
  const zoom = Math.max(1, Math.round(112 / Math.max(images.width, images.height)));
  const [column, row] = [point.customdata % images.columns, Math.floor(point.customdata / images.columns)];
  const box = byId("plot-codes").getBoundingClientRect();
  const at = pointer ? [pointer.clientX, pointer.clientY] : [box.left + 60, Math.max(box.top, 0) + images.height * zoom + 60]; // of a key
  place.style.width = `${images.width * zoom + 4}px`;
  place.style.height = `${images.height * zoom + 4}px`;
  place.style.backgroundImage = `url(${images.source})`;
  place.style.backgroundSize = `${images.columns * images.width * zoom}px auto`;
  place.style.backgroundPosition = `-${column * images.width * zoom}px -${row * images.height * zoom}px`;
  place.style.left = `${Math.min(at[0] + 16, innerWidth - images.width * zoom - 12)}px`;
  place.style.top = `${Math.max(4, at[1] - images.height * zoom - 40)}px`;
  place.hidden = false;
}

// ---- the table ----

function cellText(number, column) {
  return bodyOf.get(number).querySelector("tr.trial").cells[column].textContent;
}

function sorted() {
  const [, key, way] = /^(.*):(up|down)$/.exec(shared.sort) || [];
  const column = heads.findIndex((head) => head.dataset.key === key);
  heads.forEach((head, index) => head.setAttribute("aria-sort", index === column ? (way === "up" ? "ascending" : "descending") : "none"));
  const numbers = data.trials.map((trial) => trial.number);
  if (column < 0) return numbers;
  const worth = new Map(numbers.map((number) => [number, valueOf(trialOf.get(number), key)]));
  return numbers.sort((first, second) => {
    const [a, b] = [worth.get(first), worth.get(second)];
    if (a === null || b === null) return (a === null) - (b === null); // at the end, either way
    const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
    return way === "up" ? order : -order;
  });
}

let order = []; // the shown trials as the table has them

function fillTable() {
  const numbers = sorted(), table = document.querySelector("#table table");
  table.append(...numbers.map((number) => bodyOf.get(number)));
  numbers.forEach((number) => (bodyOf.get(number).hidden = !shown.has(number)));
  order = numbers.filter((number) => shown.has(number));
}

function changed() {
  const wrong = filterTrials(), ranges = Object.keys(shared.brush).map((name) => `${name} brushed`).join(", ");
  fillTable();
  const all = shown.size === data.trials.length;
  byId("filtered").textContent = [wrong, `${all ? "" : `${shown.size} of `}${counted(data.trials.length, "trial")}`, ranges].filter(Boolean).join("; ");
  byId("clear").hidden = !shared.filter && !ranges;
  writeFragment();
  redraw();
}

function element(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function detailOf(trial) {
  const within = element("div", "", { class: "within" }), list = element("ul", "", { class: "values" });
  const values = { ...data.common, ...trial.config }, paths = new Set(data.axes.map((axis) => axis.path));
  for (const path of Object.keys(values).sort()) {
    const own = path in trial.config || paths.has(path);
    list.append(element("li", `${path} ${values[path]}`, own ? { class: "own" } : {}));
  }
  within.append(element("p", summary(trial)));
  if (list.children.length && (Object.keys(trial.config).length || trial.epochs)) within.append(element("p", "Its configuration; what differs between trials is bold:", { class: "note" }), list);
  else within.append(element("p", "It never started, so it has no configuration.", { class: "note" }));
  const beside = element("div", "", { class: "beside" });
  for (const picture of trial.pictures) {
    const copy = trial.number === data.best ? document.querySelector(`img[data-kind="${picture.kind}"]`) : null, source = picture.source || (copy && copy.src);
    const figure = document.createElement("figure"), link = element("a", `${picture.kind}, epoch ${picture.epoch}`, { href: picture.file, target: "_blank" });
    if (source) figure.append(element("img", "", { src: source, alt: picture.kind }));
    const caption = document.createElement("figcaption");
    caption.append(link);
    figure.append(caption);
    beside.append(figure);
  }
  if (trial.pictures.length) within.append(element("p", "Its pictures, and the files in the run folder:", { class: "note" }), beside);
  else within.append(element("p", "It drew no pictures.", { class: "note" }));
  const cell = element("td", "", { colspan: heads.length }), row = element("tr", "", { class: "detail" });
  cell.append(within);
  row.append(cell);
  return row;
}

// ---- the marked trial ----

function mark(number, scroll = true) {
  const before = bodyOf.get(shared.trial);
  if (before) {
    before.classList.remove("marked");
    before.querySelectorAll(".detail").forEach((row) => row.remove());
    before.querySelector("tr.trial").setAttribute("aria-expanded", "false");
  }
  shared.trial = number;
  const trial = number === null ? null : trialOf.get(number), bar = byId("marked");
  bar.hidden = trial === null;
  if (trial) {
    const body = bodyOf.get(number);
    body.classList.add("marked");
    body.append(detailOf(trial));
    body.querySelector("tr.trial").setAttribute("aria-expanded", "true");
    byId("marked-text").textContent = summary(trial);
    if (scroll) byId("table").scrollTo({ top: body.offsetTop - document.querySelector("#table thead").offsetHeight }); // within the table: the page stays where the reader is
  }
  writeFragment();
  redraw(Object.keys(PLOTS).filter((name) => !["rungs", "importance", "codes"].includes(name)));
}

function step(by) {
  const at = order.indexOf(shared.trial);
  const next = at < 0 ? order[0] : order[Math.max(0, Math.min(order.length - 1, at + by))];
  if (next !== undefined && next !== shared.trial) mark(next);
}

function toRow() {
  const row = bodyOf.get(shared.trial).querySelector("tr.trial");
  byId("table").scrollIntoView({ block: "start" });
  row.focus({ preventScroll: true });
}

// ---- what the reader does ----

function onRowKey(event) {
  const row = event.target.closest("tr.trial"), number = row && Number(row.parentNode.dataset.trial);
  if (row === null || event.target !== row) return;
  if (["Enter", " "].includes(event.key)) mark(shared.trial === number ? null : number, false);
  else if (["ArrowDown", "ArrowUp"].includes(event.key)) {
    const next = order[order.indexOf(number) + (event.key === "ArrowDown" ? 1 : -1)];
    if (next !== undefined) bodyOf.get(next).querySelector("tr.trial").focus();
  } else return;
  event.preventDefault();
}

let codeAt = -1;

function onPlotKey(event) {
  const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (event.key === "Enter" && shared.trial !== null) toRow();
  else if (by === undefined) return;
  else if (event.currentTarget.id === "plot-codes") {
    const of = (trace, curveNumber) => (trace.customdata || []).map((customdata, pointNumber) => ({ curveNumber, pointNumber, customdata }));
    const all = event.currentTarget.data.flatMap(of);
    codeAt = Math.max(0, Math.min(all.length - 1, codeAt + by));
    Plotly.Fx.hover(event.currentTarget, [all[codeAt]]); // its label; no event comes of it
    showImage(all[codeAt], null);
  } else step(by);
  event.preventDefault();
}

function start() {
  document.documentElement.classList.add("script");
  for (const head of heads) {
    const button = element("button", "", { type: "button", title: head.title });
    button.append(...head.childNodes);
    button.addEventListener("click", () => {
      const key = head.dataset.key;
      shared.sort = { [`${key}:up`]: `${key}:down`, [`${key}:down`]: "" }[shared.sort] ?? `${key}:up`;
      fillTable();
      writeFragment();
    });
    head.replaceChildren(button);
  }
  for (const body of bodies) {
    const row = body.querySelector("tr.trial"), number = Number(body.dataset.trial);
    row.tabIndex = 0;
    row.setAttribute("aria-expanded", "false");
    row.addEventListener("click", () => getSelection().isCollapsed && mark(shared.trial === number ? null : number, false));
  }
  byId("table").addEventListener("keydown", onRowKey);
  byId("plot-codes")?.addEventListener("blur", () => (byId("image").hidden = true));
  document.querySelectorAll(".plot").forEach((place) => place.addEventListener("keydown", onPlotKey));
  document.addEventListener("keydown", (event) => event.key === "Escape" && event.target.id !== "filter" && shared.trial !== null && mark(null));
  let typing;
  byId("filter").addEventListener("input", () => {
    shared.filter = byId("filter").value;
    clearTimeout(typing);
    typing = setTimeout(changed, 150);
  });
  byId("clear").addEventListener("click", () => {
    shared.filter = byId("filter").value = "";
    shared.brush = {};
    changed();
  });
  byId("marked-row").addEventListener("click", toRow);
  byId("marked-up").addEventListener("click", () => step(-1));
  byId("marked-down").addEventListener("click", () => step(1));
  byId("marked-none").addEventListener("click", () => mark(null));
  addEventListener("hashchange", show);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw());
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth !== width) redraw(["slices"]);
    width = innerWidth;
  });
  show();
  if (running) keepFresh();
}

function show() {
  readFragment();
  byId("filter").value = shared.filter;
  changed();
  if (shared.trial !== null || document.querySelector("tbody.marked")) mark(shared.trial);
}

// The page of a running sweep: a file cannot be asked whether it is new, so it is read again; not while somebody types or drags.
function keepFresh() {
  let held = false;
  addEventListener("pointerdown", () => (held = true));
  addEventListener("pointerup", () => (held = false));
  const late = Date.now() / 1000 - running.written > 20 * running.every_s;
  const at = new Date(running.written * 1000).toLocaleTimeString();
  byId("standing").append(late ? ` But it was last written at ${at}: nothing was told since, or the sweep was cut off. launch.py status says which.` : ` Written at ${at}.`);
  byId("standing").classList.toggle("late", late);
  setInterval(() => !held && document.activeElement !== byId("filter") && !document.hidden && location.reload(), running.every_s * 1000);
}

start();
