// Trials of all studies in one table of columns; a trial is its row, which never changes.

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const studies = [];
const rows = { n: 0, study: [], mixers: [], blocks: [], columns: {} };
const selection = new Set();
let focus = null;

function element(tag, text, parent, attributes = {}) {
  const made = document.createElement(tag);
  if (text !== null) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (parent) parent.append(made);
  return made;
}

function decode(column, count) {
  if (Array.isArray(column)) return column;
  if ("all" in column) return Array(count).fill(column.all);
  return column.codes.map((code) => column.values[code]);
}

// Takes in a study as the page or a server sends it: facts of the whole, and trials after those known.
function take(place, told) {
  const study = studies[place] ??= { place, rows: [] };
  Object.assign(study, { ...told, front: new Set(told.front), chances: likely(told.noise.chances),
    observed: likely(told.noise.observed), smoothed: smoothedOf(told.noise.smoothed), parts: null });
  for (const known of Object.values(told.noise)) if (known.values) known.ends = intervals(known);
  for (const part of told.parts) append(study, part);
}

const intervals = (told) => new Map(told.values.map((value, i) => [`${value} ${told.seeds[i]}`, [told.low[i], told.high[i]]]));
const smoothedOf = (told) => told ? { front: new Set(told.front),
  known: new Map(told.numbers.map((number, i) => [number, { value: told.value[i], low: told.low[i], high: told.high[i] }])) } : null;
const likely = (told) => told ? new Map(told.numbers.map((number, i) => [number, told.shares[i]])) : null;

function append(study, part) {
  for (const [name, column] of Object.entries(part.columns)) {
    if (name === "mixers" || name === "blocks") continue;
    const known = rows.columns[name] ??= Array(rows.n).fill(null);
    for (const value of decode(column, part.count)) known.push(value);
  }
  const mixers = decode(part.columns.mixers, part.count), blocks = decode(part.columns.blocks, part.count);
  for (let i = 0; i < part.count; i++) {
    study.rows.push(rows.n++);
    rows.study.push(study.place);
    rows.mixers.push(mixers[i].map((code) => part.mixers[code]));
    rows.blocks.push(blocks[i].map((code) => part.blocks[code]));
  }
  for (const column of Object.values(rows.columns)) while (column.length < rows.n) column.push(null);
}

const cell = (name, row) => rows.columns[name]?.[row] ?? null;
const score = (name, row) => cell("score." + name, row);
const number = (row) => cell("number", row);
const named = (prefix) => Object.keys(rows.columns).filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
const several = () => studies.length > 1;

function status(row) {
  const state = cell("state", row);
  if (state !== "complete") return state;
  return studies[rows.study[row]].front.has(number(row)) ? "front" : "dominated";
}

// Ends of a score's 95 % confidence interval. A timing has its own; that of an accuracy changes as trials come.
function bounds(name, row) {
  const value = score(name, row), known = studies[rows.study[row]].noise[name];
  if (!known) return cell("low." + name, row) === null ? null : [cell("low." + name, row), cell("high." + name, row)];
  return known.ends.get(`${value} ${cell("values." + name, row)?.length || 1}`) ?? null;
}

// Scores whose noise is known of the study as a whole.
const scattered = () => scores().filter((name) => studies.some((study) => study.noise[name]));

// Probability that a trial is on its study's front; null where it is not complete, or no score is noisy.
function chance(row) {
  const { chances } = studies[rows.study[row]];
  if (!chances || cell("state", row) !== "complete") return null;
  return chances.has(number(row)) ? chances.get(number(row)) : 0;
}
// The same around the observed scores, and the smoothed accuracy: { value, low, high }; null without a model.
function observedChance(row) {
  const { observed } = studies[rows.study[row]];
  return observed && cell("state", row) === "complete" ? observed.get(number(row)) ?? 0 : null;
}
const smoothed = (row) => studies[rows.study[row]].smoothed?.known.get(number(row)) ?? null;
const smoothing = () => studies.some((study) => study.smoothed);
const onSmoothedFront = (row) => studies[rows.study[row]].smoothed?.front.has(number(row)) ?? null;
const uncertain = () => studies.some((study) => study.chances);
const chanceTold = (row) => smoothed(row)
  ? `on the front of true scores with probability ${percent(chance(row))} (in ${percent(observedChance(row))} of the draws around the observed scores)`
  : `on the front in ${percent(chance(row))} of the draws of its noise`;
const percent = (share) => share === null ? "-" : `${(100 * share).toFixed(0)} %`;

// Objectives of any study first, in their order, then what else was scored.
function scores() {
  const wanted = studies.flatMap((study) => study.objectives);
  return [...new Set([...wanted, ...named("score.")])].filter((name) => name in data.objectives);
}

const words = (value) => Array.isArray(value) ? value.join("-") : String(value);

function describe(row) {
  const told = named("param.").filter((name) => cell("param." + name, row) !== null)
    .map((name) => (name === "token_mixer" ? "" : name + " ") + words(cell("param." + name, row)));
  return told.join(", ") || "the baseline";
}

const title = (row) => (several() ? studies[rows.study[row]].name + ", " : "") + "trial " + number(row);

// A value in its objective's unit: 4.2 GMACs, 2.9 k img/s, 71.3 %. The type of the tick format says how: % for
// shares, s with prefixes, g without.
const type = (objective) => objective.ticks.at(-1);
function eng(value, objective, digits = 3) {
  if (value === null || value === undefined) return "-";
  if (type(objective) === "%") return (100 * value).toFixed(digits > 3 ? 2 : 1) + " %";
  let shown = value, prefix = "";
  if (type(objective) === "s") for (const next of ["k", "M", "G", "T"]) {
    if (Number(Math.abs(shown).toPrecision(digits)) < 1000) break;
    [shown, prefix] = [shown / 1000, next];
  }
  const text = Math.abs(shown) >= 10 ** digits ? shown.toFixed(0) : String(Number(shown.toPrecision(digits)));
  // A prefix belongs to a symbol (GMACs) and stands before a word (28 M params).
  return /^[A-Z]/.test(objective.si) ? `${text} ${prefix}${objective.si}` : [text, prefix, objective.si].filter(Boolean).join(" ");
}

const shownScore = (name, row, digits) => eng(score(name, row), data.objectives[name], digits);
const ticks = (name) => data.common.ticks[name] ?? data.objectives[name].ticks;
const axisTitle = (name) => `${data.objectives[name].axis}, ${data.objectives[name].maximize ? "more" : "less"} is better`;
const better = (name, a, b) => data.objectives[name].maximize ? a > b : a < b;

// Selection: rows, and the one whose details are shown.
const listeners = [];
function choose(chosen, looked) {
  selection.clear();
  for (const row of chosen) selection.add(row);
  if (looked !== undefined) focus = looked;
  else if (!selection.has(focus)) focus = selection.size ? selection.values().next().value : focus;
  for (const listener of listeners) listener();
}

function click(row, event) {
  if (event && (event.shiftKey || event.ctrlKey || event.metaKey)) {
    const chosen = new Set(selection);
    chosen.has(row) ? chosen.delete(row) : chosen.add(row);
    choose(chosen, row);
  } else choose([row], row);
}
