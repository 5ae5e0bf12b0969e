// What is marked, filtered, sorted and brushed: one object, kept in the address's fragment, so that a reload or a link keeps it.
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const running = JSON.parse(document.getElementById("running").textContent); // {written, every_s}, or null
const trialOf = new Map(data.trials.map((trial) => [trial.number, trial]));
const shared = { trial: null, filter: "", sort: "", brush: {} }; // brush: axis name -> [low, high] in the axis's own numbers
const byId = (id) => document.getElementById(id);

function readFragment() {
  const kept = new URLSearchParams(location.hash.slice(1));
  const number = kept.has("trial") ? Number(kept.get("trial")) : null;
  shared.trial = trialOf.has(number) ? number : null;
  shared.filter = kept.get("filter") || "";
  shared.sort = kept.get("sort") || "";
  shared.brush = {};
  for (const one of kept.getAll("brush")) {
    const [, name, low, high] = /^(.*):([^:]*):([^:]*)$/.exec(one) || [];
    if (Number.isFinite(parseFloat(low)) && Number.isFinite(parseFloat(high))) shared.brush[name] = [parseFloat(low), parseFloat(high)];
  }
}

function writeFragment() {
  const kept = new URLSearchParams();
  if (shared.trial !== null) kept.set("trial", shared.trial);
  if (shared.filter) kept.set("filter", shared.filter);
  if (shared.sort) kept.set("sort", shared.sort);
  for (const [name, [low, high]] of Object.entries(shared.brush)) kept.append("brush", `${name}:${+low.toPrecision(6)}:${+high.toPrecision(6)}`);
  try {
    history.replaceState(null, "", `#${kept}`);
  } catch {
    location.hash = kept; // where a file's address may not be replaced
  }
}

// ---- which trials are shown ----

const METRIC = { name: data.metric, metric: true };
const isFinal = (trial) => trial.state === "COMPLETE" && !trial.broken && trial.value !== null;

function valueOf(trial, key) {
  if (key === data.metric || key === "value") return trial.value;
  if (key === "trial") return trial.number;
  if (["state", "epochs", "seconds", "baseline"].includes(key)) return trial[key];
  const index = data.axes.findIndex((axis) => axis.name === key || axis.path === key);
  if (index >= 0) return trial.params[index];
  const column = heads.findIndex((head) => head.dataset.key === key); // another metric, which the table alone has
  if (column < 0) return undefined;
  const value = parseFloat(cellText(trial.number, column));
  return Number.isNaN(value) ? null : value;
}

const COMPARE = {
  "<": (a, b) => a < b,
  ">": (a, b) => a > b,
  "<=": (a, b) => a <= b,
  ">=": (a, b) => a >= b,
  "=": (a, b) => a === b,
  "!=": (a, b) => a !== b,
};

// One test a word: column<number, column=text, or a text that the trial's line must hold. Returns [tests, what is wrong].
function readFilter(text) {
  const tests = [];
  let wrong = "";
  for (const word of text.match(/(?:\[[^\]]*\]|\S)+/g) || []) { // a list is one word, blanks and all
    const [, key, sign, wanted] = /^(.+?)(<=|>=|!=|=|<|>)(.*)$/.exec(word) || [];
    if (sign === undefined) {
      tests.push((trial) => lineOf(trial).includes(word.toLowerCase()));
    } else if (data.trials.length && valueOf(data.trials[0], key) === undefined) {
      wrong = `no column ${key}`;
    } else if (wanted !== "") {
      const number = Number(wanted);
      tests.push((trial) => {
        const value = valueOf(trial, key);
        if (value === null) return sign === "!=";
        if (typeof value === "number") return COMPARE[sign](value, number);
        if (/[<>]/.test(sign) && !Number.isNaN(number)) return false; // null, say, or a name, is neither above nor below a number
        return COMPARE[sign](withoutBlanks(value), withoutBlanks(wanted));
      });
    }
  }
  return [tests, wrong];
}

function withoutBlanks(value) {
  return String(value).toLowerCase().replace(/\s+/g, "");
}

function lineOf(trial) {
  return `${trial.name} ${trial.state} ${trial.reason || ""} ${trial.params.join(" ")}`.toLowerCase();
}

function inBrush(trial) {
  return Object.entries(shared.brush).every(([name, [low, high]]) => {
    if (name === data.metric) return isFinal(trial) && trial.value >= low && trial.value <= high;
    const index = data.axes.findIndex((axis) => axis.name === name);
    if (index < 0) return true;
    const value = numberOn(data.axes[index], trial.params[index]);
    return value !== null && value >= low && value <= high;
  });
}

// A choice is its place among the choices.
function numberOn(axis, value) {
  return value === null || !axis.choices ? value : axis.choices.indexOf(value);
}

let shown = new Set(); // numbers

function filterTrials() {
  const [tests, wrong] = readFilter(shared.filter);
  shown = new Set(data.trials.filter((trial) => tests.every((test) => test(trial)) && inBrush(trial)).map((trial) => trial.number));
  return wrong;
}

// ---- words ----

const digits = (value) => (data.unit ? value.toFixed(2) : String(Number(value.toPrecision(4))));
const valueText = (trial) => (trial.value === null ? "no value" : `${digits(trial.value)}${data.unit}`);
const escaped = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;"); // plotly reads tags in labels

const counted = (num, what) => `${num} ${what}${num === 1 ? "" : "s"}`;

function summary(trial) {
  const constraint = trial.broken ? ", breaks the constraint" : "";
  return `trial ${trial.name}: ${data.metric} ${valueText(trial)}, ${trial.state}${constraint}, ${counted(trial.epochs, "epoch")}`;
}
