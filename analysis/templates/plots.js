// The plots. Each function returns {traces, layout}, or null where there is nothing to draw: the caption below then says why.
"use strict";
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const GROUPS = [
  ["complete", (trial) => trial.state === "COMPLETE" && !trial.broken, "--complete", "circle"],
  ["breaks the constraint", (trial) => trial.state === "COMPLETE" && trial.broken, "--broken", "triangle-up"],
  ["pruned", (trial) => trial.state === "PRUNED", "--pruned", "x"],
  ["diverged or failed", (trial) => ["DIVERGED", "FAIL"].includes(trial.state), "--failed", "square"],
  [running ? "running" : "interrupted", (trial) => ["running", "interrupted"].includes(trial.state), "--running", "triangle-right"],
];
const SCALE = () => [[0, css("--early")], [0.5, "#2aa198"], [1, css("--late")]]; // readable on white and on black
const HOVER = "%{text}<extra></extra>";

function label(trial) {
  const values = data.axes.map((axis, index) => [axis.name, trial.params[index]]).filter(([, value]) => value !== null);
  const short = (value) => (typeof value === "number" ? Number(value.toPrecision(4)) : escaped(value));
  const lines = values.map(([name, value]) => `${escaped(name)} ${short(value)}`);
  const more = lines.length > 12 ? [...lines.slice(0, 12), "..."] : lines;
  const state = `${trial.state}${trial.broken ? ", breaks the constraint" : ""}, ${counted(trial.epochs, "epoch")}`;
  return [`<b>trial ${escaped(trial.name)}</b>`, `${escaped(data.metric)} ${valueText(trial)}`, state, ...more].join("<br>");
}
const labels = new Map(data.trials.map((trial) => [trial.number, label(trial)]));

function layout(more) {
  const axis = { gridcolor: css("--faint"), linecolor: css("--line"), zeroline: false, automargin: true };
  const made = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { family: "system-ui, sans-serif", size: 12, color: css("--text") },
    margin: { l: 52, r: 14, t: 10, b: 44 }, hovermode: "closest", uirevision: "kept", dragmode: "zoom",
    hoverlabel: { bgcolor: css("--box"), bordercolor: css("--line"), font: { color: css("--text"), size: 12 }, align: "left" },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: css("--soft"), activecolor: css("--accent") },
    legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom", x: 0 }, height: 380, ...more, // below all, however many rows it has
  };
  for (const name of Object.keys(made).filter((key) => /^[xy]axis/.test(key))) {
    made[name] = { ...axis, ...made[name] };
    if (typeof made[name].title === "string") made[name].title = { text: escaped(made[name].title) };
  }
  return made;
}

function points(trials, x, y) {
  return { x: trials.map(x), y: trials.map(y), customdata: trials.map((trial) => trial.number), text: trials.map((trial) => labels.get(trial.number)), hovertemplate: HOVER };
}

// Lines of several trials in one trace, a gap between two: a trace each would be slow.
function lines(trials, pathOf) {
  const trace = { x: [], y: [], customdata: [], text: [], hovertemplate: HOVER, mode: "lines", connectgaps: false };
  for (const trial of trials) {
    const [xs, ys, said] = pathOf(trial);
    xs.forEach((x, index) => {
      trace.x.push(x);
      trace.y.push(ys[index]);
      trace.customdata.push(trial.number);
      trace.text.push(labels.get(trial.number) + (said ? said(index) : ""));
    });
    trace.x.push(null);
    trace.y.push(null);
    trace.customdata.push(null);
    trace.text.push("");
  }
  return trace;
}

const ends = (trace) => trace.x.map((_, index) => index).filter((index) => trace.x[index] !== null && trace.x[index + 1] === null);
const pick = (trace, at) => Object.fromEntries(["x", "y", "customdata", "text"].map((key) => [key, at.map((index) => trace[key][index])]));
const extent = (values) => [Math.min(...values), Math.max(...values)];
const isWide = (values) => Math.min(...values) > 0 && Math.max(...values) > 8 * Math.min(...values);
const marked = () => (shared.trial !== null ? trialOf.get(shared.trial) : null);
const drawnTrials = () => data.trials.filter((trial) => trial.drawn && shown.has(trial.number));

function history_() {
  const trials = data.trials.filter((trial) => trial.value !== null && shown.has(trial.number));
  if (!data.trials.some(isFinal)) return null;
  const traces = GROUPS.map(([name, has, colour, symbol]) => ({
    ...points(trials.filter(has), (trial) => trial.number, (trial) => trial.value),
    mode: "markers", name, marker: { color: css(colour), symbol, size: 8, opacity: 0.85 },
  })).filter((trace) => trace.x.length);
  const known = trials.filter((trial) => trial.baseline && trial.state === "COMPLETE");
  if (known.length) traces.push({ ...points(known, (t) => t.number, (t) => t.value), mode: "markers", name: "baseline", marker: { color: css("--baseline"), symbol: "circle-open", size: 14, line: { width: 2.5 } } });
  const best = { x: [], y: [] };
  for (const trial of trials.filter(isFinal).sort((a, b) => a.number - b.number)) {
    best.x.push(trial.number);
    best.y.push(Math.min(trial.value, best.y.length ? best.y[best.y.length - 1] : Infinity));
  }
  if (best.x.length > 1) traces.unshift({ ...best, mode: "lines", line: { shape: "hv", color: css("--best"), width: 2 }, name: "best so far", hoverinfo: "skip" });
  const one = marked();
  if (one && one.value !== null) traces.push(ring([one.number], [one.value]));
  const last = Math.max(0, ...trials.map((trial) => trial.number)), room = Math.max(0.5, 0.03 * last); // no dot is cut by the edge
  return { traces, layout: layout({ xaxis: { title: "trial", range: [-room, last + room], ...whole(0, last) }, ...metricAxis(trials, (trial) => [trial.value]) }) };
}

const ring = (x, y, more) => ({ x, y, mode: "markers", marker: { symbol: "circle-open", size: 17, color: css("--mark"), line: { width: 3 } }, hoverinfo: "skip", showlegend: false, ...more });
const whole = (low, high) => (high - low <= 10 ? { tick0: 0, dtick: 1 } : {}); // numbers, epochs and ranks have no half
const scaleOf = (values) => ({ title: data.label, ...(isWide(values) ? logAxis(...extent(values)) : {}) });
const PRESSED = 8; // times the height of the others: where a value that far off would press them flat
const ROOM = 0.05; // of a range, at either end

function rangeOf(low, high, log) {
  const [from, to] = log ? [Math.log10(low), Math.log10(high)] : [low, high], room = ROOM * (to - from);
  return [from - room, to + room];
}

// The metric's axis in {yaxis, annotations}. What diverged or failed far above all others is outside of it, and how many that are is said.
function metricAxis(trials, valuesOf) {
  const lost = (trial) => ["DIVERGED", "FAIL"].includes(trial.state);
  const all = trials.flatMap(valuesOf), kept = trials.filter((trial) => !lost(trial)).flatMap(valuesOf);
  const [low, high] = [Math.min(...all), Math.max(...kept)];
  if (!kept.length || high === low || Math.max(...all) - low <= PRESSED * (high - low)) return { yaxis: scaleOf(all) };
  const yaxis = scaleOf([low, ...kept]), num = trials.filter((trial) => lost(trial) && valuesOf(trial).some((value) => value > high)).length;
  const text = `${num} diverged or failed: far above`;
  const said = { text, xref: "paper", yref: "paper", x: 1, y: 1, xanchor: "right", yanchor: "bottom", showarrow: false, font: { color: css("--failed") } };
  return { yaxis: { ...yaxis, range: rangeOf(low, high, yaxis.type === "log") }, annotations: [said], margin: { l: 52, r: 14, t: 26, b: 44 } };
}

// Round numbers, written out: plotly's own ticks leave the powers to be guessed.
function logAxis(low, high) {
  const marks = (digits) => Array.from({ length: 19 }, (_, index) => index - 9).flatMap((power) => digits.map((digit) => Number(`${digit}e${power}`)));
  const enough = (digits) => marks(digits).filter((mark) => mark >= low && mark <= high).length >= 3;
  const tickvals = marks([[1], [1, 3], [1, 2, 5]].find(enough) || [1, 1.5, 2, 3, 5, 7]);
  return { type: "log", tickvals, ticktext: tickvals.map((value) => (value < 1e-4 ? value.toExponential() : String(value))) };
}

// Lines over the epochs: of values, or of ranks.
function overEpochs(pathOf, axes) {
  const trials = drawnTrials().filter((trial) => trial.curve[0].length);
  const special = (trial) => trial.number === data.best || trial.baseline;
  const traces = [];
  for (const [name, has, colour, symbol] of GROUPS) {
    const trace = lines(trials.filter((trial) => has(trial) && !special(trial)), pathOf);
    if (!trace.x.length) continue;
    traces.push({ ...trace, name, legendgroup: name, line: { color: css(colour), width: 1.2 }, opacity: trials.length > 60 ? 0.55 : 0.85 });
    traces.push({ ...pick(trace, ends(trace)), hovertemplate: HOVER, mode: "markers", legendgroup: name, showlegend: false, marker: { color: css(colour), symbol, size: 6 } });
  }
  for (const trial of trials.filter(special)) {
    const best = trial.number === data.best;
    const name = escaped(best ? `best: trial ${trial.name}` : `baseline ${trial.baseline}`), colour = css(best ? "--best" : "--baseline"), trace = lines([trial], pathOf);
    traces.push({ ...trace, name, legendgroup: name, line: { color: colour, width: best ? 3 : 2.2, dash: best ? "solid" : "dash" } });
    traces.push({ ...pick(trace, ends(trace)), hovertemplate: HOVER, mode: "markers", legendgroup: name, showlegend: false, marker: { color: colour, size: best ? 8 : 7 } }); // a line of one epoch is none
  }
  const one = marked();
  if (one && one.curve && one.curve[0].length) traces.push({ ...lines([one], pathOf), name: escaped(`marked: trial ${one.name}`), mode: "lines+markers", line: { color: css("--mark"), width: 3.5 }, marker: { size: 5, color: css("--mark") } });
  const fork = data.fork_epoch === null ? {} : { shapes: [{ type: "line", x0: data.fork_epoch, x1: data.fork_epoch, yref: "paper", y0: 0, y1: 1, line: { color: css("--soft"), width: 1.5, dash: "dot" }, label: { text: "fork", textposition: "end", textangle: 0, yanchor: "top", xanchor: "left", font: { color: css("--soft") } } }] };
  return { traces, layout: layout({ ...fork, xaxis: { title: "epoch", ...whole(...extent([0, ...trials.map((trial) => trial.curve[0][trial.curve[0].length - 1])])) }, height: 420, ...axes }) };
}

function curves() {
  const all = data.trials.filter((trial) => trial.curve && trial.curve[0].length);
  if (!all.length) return null;
  const said = (trial) => (index) => `<br>epoch ${trial.curve[0][index]}: ${digits(trial.curve[1][index])}${data.unit}`;
  return overEpochs((trial) => [...trial.curve, said(trial)], metricAxis(all, (trial) => trial.curve[1]));
}

let rankOf = null; // trial -> [epochs, ranks]; among all drawn trials, whatever the filter

function ranks() {
  const all = data.trials.filter((trial) => trial.curve && trial.curve[0].length);
  if (all.length < 2) return null;
  if (rankOf === null) {
    const at = new Map();
    for (const trial of all) trial.curve[0].forEach((epoch, index) => at.set(epoch, [...(at.get(epoch) || []), [trial.curve[1][index], trial.number]]));
    rankOf = new Map(all.map((trial) => [trial.number, [[], []]]));
    for (const [epoch, values] of [...at].sort((a, b) => a[0] - b[0])) {
      if ((epoch - 1) % data.epochs_apart) continue; // the last epoch of a few: the others do not show it
      values.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
      values.forEach(([, number], index) => {
        rankOf.get(number)[0].push(epoch);
        rankOf.get(number)[1].push(index + 1);
      });
    }
  }
  const said = (trial) => (index) => `<br>epoch ${rankOf.get(trial.number)[0][index]}: rank ${rankOf.get(trial.number)[1][index]}`;
  return overEpochs((trial) => [...rankOf.get(trial.number), said(trial)], { yaxis: { title: "rank", autorange: "reversed", ...whole(1, all.length) } });
}

// How well each epoch foretells the end, and where the pruner wanted to stop somebody.
function rungs() {
  const found = data.rungs;
  if (!found) return null;
  const known = found.rungs.filter((rung) => rung.correlation !== null), epochs = extent(known.map((rung) => rung.epoch));
  const said = (rung) => `epoch ${rung.epoch}: ${rung.correlation.toFixed(2)}${rung.counts ? "" : ", stops nobody"}; ${rung.stopped} stopped so far${rung.left_out ? `, ${rung.left_out} let go on` : ""}`;
  const at = (some, more) => ({ x: some.map((rung) => rung.epoch), y: some.map((rung) => rung.correlation), text: some.map(said), hovertemplate: HOVER, ...more });
  const marks = (some, name, symbol, colour) => at(some, { mode: "markers", name, marker: { symbol, size: 11, color: css(colour), line: { width: 2.5, color: css(colour) } } });
  const traces = [
    at(known, { mode: "lines+markers", name: "correlation with the end", line: { color: css("--complete"), width: 2 }, marker: { size: 4 } }),
    ...(found.least === null ? [] : [{ x: epochs[0] < epochs[1] ? epochs : [epochs[0] - 0.5, epochs[0] + 0.5], y: [found.least, found.least], mode: "lines", name: `${found.least}: below it nobody is stopped`, line: { color: css("--soft"), dash: "dash", width: 1.5 }, hoverinfo: "skip" }]),
    marks(known.filter((rung) => rung.stopped), "trials were stopped", "circle", "--best"),
    marks(known.filter((rung) => rung.left_out), "trials were let go on", "circle-open", "--mark"),
  ];
  const low = Math.min(0, ...known.map((rung) => rung.correlation));
  return { traces: traces.filter((trace) => trace.x.length), layout: layout({ xaxis: { title: "epoch", ...whole(...epochs) }, yaxis: { title: "rank correlation", range: rangeOf(low, 1) } }) };
}

// ---- parallel coordinates: an axis a column, each from 0 to 1 ----

const BINS = 8; // colours of lines
const NONE = -0.09; // where a trial stands that lacks the parameter

function shade(at) {
  const index = at < 0.5 ? 0 : 1, part = 2 * at - index, ends = SCALE().slice(index, index + 2).map(([, colour]) => colour.match(/[0-9a-f]{2}/gi).map((two) => parseInt(two, 16)));
  return `rgb(${ends[0].map((low, channel) => Math.round(low + part * (ends[1][channel] - low))).join(",")})`;
}

function axesOf(trials) {
  const values = trials.map((trial) => trial.value);
  const metric = { ...METRIC, low: Math.min(...values), high: Math.max(...values), log: isWide(values) };
  return [metric, ...data.axes.filter((_, index) => trials.some((trial) => trial.params[index] !== null))];
}

const onAxis = (trial, axis) => (axis.metric ? trial.value : numberOn(axis, trial.params[data.axes.indexOf(axis)]));

function place(axis, value) {
  if (value === null) return NONE;
  if (axis.choices) return (value + 0.5) / axis.choices.length;
  if (axis.low === axis.high) return 0.5;
  const scale = axis.log ? Math.log : Number;
  return (scale(value) - scale(axis.low)) / (scale(axis.high) - scale(axis.low));
}

function valueAt(axis, at) {
  if (axis.choices) return at * axis.choices.length - 0.5;
  return axis.log ? axis.low * (axis.high / axis.low) ** at : axis.low + at * (axis.high - axis.low);
}

function ticksOf(axis) {
  if (axis.choices) return axis.choices.map((choice, index) => [(index + 0.5) / axis.choices.length, String(choice)]);
  return [0, 0.5, 1].map((at) => [at, String(Number(valueAt(axis, at).toPrecision(3)))]);
}

let parallelAxes = [];

function parallel() {
  const all = data.trials.filter((trial) => trial.drawn && isFinal(trial) && trial.params.some((value) => value !== null));
  if (all.length < 2) return null;
  parallelAxes = axesOf(all);
  const pathOf = (trial) => {
    const at = parallelAxes.map((axis) => place(axis, onAxis(trial, axis))), xs = [], ys = [];
    at.forEach((y, index) => {
      for (let step = 0; step < (index + 1 < at.length ? 4 : 1); step++) { // points between, so that a line can be hit anywhere
        xs.push(index + step / 4);
        ys.push(y + (step / 4) * ((at[index + 1] ?? y) - y));
      }
    });
    return [xs, ys];
  };
  const sorted = all.slice().sort((a, b) => a.value - b.value);
  const traces = [{ ...lines(sorted.filter((trial) => !shown.has(trial.number)), pathOf), hoverinfo: "skip", hovertemplate: null, line: { color: css("--faint"), width: 1 }, showlegend: false }];
  for (let bin = 0; bin < BINS; bin++) {
    const some = sorted.filter((trial, index) => Math.floor((index * BINS) / sorted.length) === bin && shown.has(trial.number));
    const name = bin === 0 ? "the best eighth" : bin === BINS - 1 ? "the last eighth" : "";
    if (some.length) traces.push({ ...lines(some, pathOf), line: { color: shade(1 - bin / (BINS - 1)), width: 1.4 }, opacity: all.length > 100 ? 0.6 : 0.9, name, showlegend: name !== "" && all.length >= BINS });
  }
  traces.reverse(); // the best above
  const one = marked();
  if (one && all.includes(one)) traces.push({ ...lines([one], pathOf), line: { color: css("--mark"), width: 4 }, name: escaped(`marked: trial ${one.name}`) });
  const annotations = parallelAxes.flatMap((axis, index) => ticksOf(axis).map(([y, text]) => ({ x: index, y, text: escaped(text), showarrow: false, xanchor: "left", xshift: 4, font: { size: 10.5 }, bgcolor: css("--box"), opacity: 0.85, borderpad: 1 })));
  if (all.some((trial) => parallelAxes.some((axis) => onAxis(trial, axis) === null))) annotations.push({ x: 0, y: NONE, text: "None: it does not have the parameter", showarrow: false, xanchor: "left", font: { size: 10.5, color: css("--soft") } });
  const shapes = parallelAxes.map((axis, index) => ({ type: "line", x0: index, x1: index, y0: 0, y1: 1, line: { color: css("--soft"), width: 1.5 } }));
  for (const [name, [low, high]] of Object.entries(shared.brush)) {
    const index = parallelAxes.findIndex((axis) => axis.name === name);
    if (index >= 0) shapes.push({ type: "rect", x0: index - 0.06, x1: index + 0.06, y0: place(parallelAxes[index], low), y1: place(parallelAxes[index], high), fillcolor: css("--mark"), opacity: 0.35, line: { width: 1, color: css("--mark") } });
  }
  byId("plot-parallel").style.minWidth = `${80 * parallelAxes.length}px`; // on a phone the box scrolls
  const ticks = parallelAxes.map((axis) => escaped(axis.name).replace(/([._/])/g, "$1<br>").replace(/_<br>/g, "_"));
  return {
    traces,
    layout: layout({
      xaxis: { tickvals: parallelAxes.map((_, index) => index), ticktext: ticks, showgrid: false, range: [-0.2, parallelAxes.length - 0.4], fixedrange: true, side: "top" },
      yaxis: { visible: false, range: [-0.14, 1.05], fixedrange: true }, annotations, shapes, selections: [], dragmode: "select", selectdirection: "d",
      newselection: { line: { color: css("--mark"), width: 1 } }, margin: { l: 10, r: 10, t: 60, b: 10 }, legend: { orientation: "h", y: -0.02, yanchor: "top" }, height: 440,
    }),
  };
}

function brushed(event) {
  if (!event || !event.range) return;
  const [x0, x1] = event.range.x.slice().sort((a, b) => a - b), [y0, y1] = event.range.y.slice().sort((a, b) => a - b);
  const covered = parallelAxes.map((_, index) => index).filter((index) => index >= x0 && index <= x1);
  const nearest = Math.max(0, Math.min(parallelAxes.length - 1, Math.round((x0 + x1) / 2)));
  for (const index of covered.length ? covered : [nearest]) {
    const axis = parallelAxes[index];
    shared.brush[axis.name] = [valueAt(axis, Math.max(0, y0)), valueAt(axis, Math.min(1, y1))];
    if (y0 <= 0) shared.brush[axis.name][0] -= Math.abs(shared.brush[axis.name][0]) * 1e-6; // the ends belong to it
    if (y1 >= 1) shared.brush[axis.name][1] += Math.abs(shared.brush[axis.name][1]) * 1e-6;
  }
  changed();
}

// ---- slices, importance, codes ----

// The whole searched range, so that a trial at its end is seen to be there.
function sliceAxis(axis) {
  const ticks = axis.log ? logAxis(axis.low, axis.high) : axis.whole && axis.high - axis.low <= 4 ? { tick0: 0, dtick: 1 } : {};
  return axis.low < axis.high ? { ...ticks, range: rangeOf(axis.low, axis.high, axis.log) } : ticks;
}

function slices() {
  const trials = drawnTrials().filter(isFinal);
  const axes = data.axes.filter((axis, index) => data.trials.some((trial) => isFinal(trial) && trial.params[index] !== null));
  if (data.trials.filter((trial) => isFinal(trial) && trial.params.some((value) => value !== null)).length < 2) return null;
  const columns = Math.max(1, Math.min(4, axes.length, Math.floor(byId("plot-slices").clientWidth / 165)));
  const rows = Math.ceil(axes.length / columns), traces = [], more = {}, one = marked(), newest = Math.max(...data.trials.map((trial) => trial.number));
  const values = data.trials.filter(isFinal).map((trial) => trial.value), gap = 70 / (rows * 260), between = columns > 2 ? 0.05 : 0.12;
  axes.forEach((axis, place) => {
    const index = data.axes.indexOf(axis), id = place ? place + 1 : "", column = place % columns, row = Math.floor(place / columns);
    const having = trials.filter((trial) => trial.params[index] !== null).sort((a, b) => a.number - b.number);
    const width = (1 - between * (columns - 1)) / columns, height = (1 - gap * (rows - 1)) / rows;
    const across = axis.choices ? { type: "category", categoryorder: "array", categoryarray: axis.choices } : sliceAxis(axis);
    more[`xaxis${id}`] = { title: { text: escaped(axis.name), standoff: 4 }, domain: [column * (width + between), column * (width + between) + width], anchor: `y${id}`, ...across };
    more[`yaxis${id}`] = { ...scaleOf(values), domain: [1 - row * (height + gap) - height, 1 - row * (height + gap)], anchor: `x${id}`, matches: place ? "y" : undefined, showticklabels: column === 0 };
    if (column) more[`yaxis${id}`].title = "";
    const scale = { color: having.map((trial) => trial.number), colorscale: SCALE(), cmin: 0, cmax: newest, size: 7, opacity: 0.85 };
    const bar = place ? {} : { colorbar: { title: { text: "trial" }, thickness: 10, lenmode: "pixels", len: 200, y: 1, yanchor: "top" } };
    traces.push({ ...points(having, (trial) => trial.params[index], (trial) => trial.value), mode: "markers", xaxis: `x${id}`, yaxis: `y${id}`, marker: { ...scale, ...bar, line: { width: 0.5, color: css("--soft") } }, showlegend: false });
    if (one && isFinal(one) && one.params[index] !== null) traces.push(ring([one.params[index]], [one.value], { xaxis: `x${id}`, yaxis: `y${id}` }));
  });
  return { traces, layout: layout({ ...more, height: rows * 260 + 40 }) };
}

function importance() {
  if (!data.importance || !Object.keys(data.importance).length) return null;
  const [names, shares] = [Object.keys(data.importance).reverse(), Object.values(data.importance).reverse()];
  const trace = { type: "bar", orientation: "h", x: shares, y: names.map(escaped), marker: { color: css("--complete") }, text: shares.map((share) => share.toFixed(2)), textposition: "outside", hovertemplate: "%{y}: %{x:.3f}<extra></extra>", cliponaxis: false };
  return { traces: [trace], layout: layout({ xaxis: { title: "share of the importance", range: [0, 1.08 * Math.max(...shares)] }, yaxis: { automargin: true }, height: 90 + 34 * names.length, showlegend: false }) };
}

function codes() {
  if (!data.codes || typeof data.codes === "string") return null;
  const found = data.codes, traces = [], classes = [...new Set(found.labels)].sort((a, b) => a - b);
  const at = (rows, more) => ({ x: rows.map((row) => row[0]), y: rows.map((row) => row[1]), mode: "markers", ...more });
  if (found.behind) traces.push(at(found.behind, { name: "prior", hoverinfo: "skip", marker: { color: css("--line"), size: 5 } }));
  for (const k of classes) {
    const rows = found.labels.map((_, index) => index).filter((index) => found.labels[index] === k);
    traces.push(at(rows.map((index) => found.points[index]), { name: `class ${k}`, customdata: rows, hovertemplate: `class ${k}, image %{customdata}<extra></extra>`, marker: { size: 7, opacity: 0.8 } }));
  }
  const reach = found.reach ? [at([[-found.reach, -found.reach], [found.reach, found.reach]], { marker: { opacity: 0 }, hoverinfo: "skip", showlegend: false })] : [];
  const annotations = (found.heads || []).map(([x, y], k) => ({ x, y, text: String(k), showarrow: false, bgcolor: css("--box"), bordercolor: css("--text") }));
  return { traces: [...traces, ...reach], layout: layout({ xaxis: { title: found.axes[0] }, yaxis: { title: found.axes[1], scaleanchor: "x" }, annotations, margin: { l: 60, r: 14, t: 10, b: 44 }, colorway: ["#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#5f6b77", "#bcbd22", "#17becf"], height: 520 }) };
}

const PLOTS = { history: history_, "learning-curves": curves, ranks, rungs, parallel, slices, importance, codes };
