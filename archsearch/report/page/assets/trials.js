// The table of trials: sort, filter, columns, CSV.

const PAGE = 150;
const grid = { sort: "trial", down: false, limit: PAGE, shown: new Map(), order: [] };
const LEFT = new Set(["status", "study", "made of", "error"]);

// Every column: how it is shown, and what it is sorted and filtered by.
function columnsOf() {
  const list = [{ name: "trial", value: number, text: (row) => String(number(row)) }];
  if (several()) list.push({ name: "study", value: (row) => studies[rows.study[row]].name });
  list.push({ name: "status", value: (row) => data.looks[status(row)].label });
  for (const name of scores()) list.push({ name, label: data.objectives[name].title, value: (row) => score(name, row), text: (row) => shownScore(name, row, 4) });
  if (smoothing()) {
    const objective = data.objectives[data.curve];
    list.push({ name: `${data.curve}_smoothed`, label: `${objective.title}, smoothed`, value: (row) => smoothed(row)?.value ?? null, text: (row) => eng(smoothed(row)?.value, objective, 4), most: true });
    list.push({ name: "front_smoothed", label: "smoothed front", value: (row) => onSmoothedFront(row) ? "yes" : "no", hidden: true });
  }
  if (uncertain()) list.push({ name: "front_probability", label: "P(front)", value: chance, text: (row) => percent(chance(row)), most: true });
  list.push({ name: "made of", value: describe });
  for (const name of named("param.")) list.push({ name, value: (row) => cell("param." + name, row), hidden: true });
  const spent = (row) => named("seconds.").reduce((sum, name) => sum + (cell("seconds." + name, row) ?? 0), 0);
  list.push({ name: "seconds", value: spent, text: (row) => spent(row).toFixed(1) });
  list.push({ name: "disturbed", value: (row) => cell("warned", row), hidden: true });
  list.push({ name: "error", value: (row) => cell("error", row), hidden: true });
  for (const one of list) one.text ??= (row) => { const value = one.value(row); return value === null ? "-" : words(value); };
  return list;
}

const isShown = (one) => grid.shown.get(one.name) ?? !one.hidden;

const SUFFIX = { "%": 0.01, k: 1e3, m: 1e6, g: 1e9, t: 1e12, "": 1 };
function amount(text) {
  const found = /^([-+]?[\d.]+(?:e[-+]?\d+)?)([%kmgt]?)$/i.exec(text);
  return found ? Number(found[1]) * SUFFIX[found[2].toLowerCase()] : NaN;
}

// `depthwise macs<4G`: words that a row has to contain, and bounds on its columns.
function wanted(text) {
  const list = columnsOf(), tests = [];
  grid.hint = "";
  const plain = (words) => words.toLowerCase().replaceAll(" ", "_");
  for (const part of text.trim().replace(/\s*([<>=]+)\s*/g, "$1").split(/\s+/).filter(Boolean)) {
    const bound = /^([^<>=]+)(<=|>=|<|>|=)(.+)$/.exec(part);
    const column = bound && list.find((one) => plain(one.name) === plain(bound[1]));
    if (bound && !column) grid.hint = `; there is no column ${bound[1]}, but: ${list.map((one) => one.name.replaceAll(" ", "_")).join(", ")}`;
    if (column) {
      const limit = amount(bound[3]);
      tests.push((row) => {
        const value = column.value(row);
        if (value === null) return false;
        if (Number.isNaN(limit) || typeof value === "string") return bound[2] === "=" && plain(words(value)).includes(plain(bound[3]));
        return { "<": value < limit, ">": value > limit, "<=": value <= limit, ">=": value >= limit, "=": Math.abs(value - limit) <= 1e-9 * Math.abs(limit) }[bound[2]];
      });
    } else {
      const low = part.toLowerCase();
      tests.push((row) => `${number(row)} ${studies[rows.study[row]].name} ${data.looks[status(row)].label} ${describe(row)} ${cell("error", row) ?? ""}`.toLowerCase().includes(low));
    }
  }
  return (row) => tests.every((test) => test(row));
}

function ordered() {
  const test = wanted(byId("filter").value), only = byId("only").checked;
  const found = [];
  for (let row = 0; row < rows.n; row++) if ((!only || selection.has(row)) && test(row)) found.push(row);
  const column = columnsOf().find((one) => one.name === grid.sort);
  if (column) {
    const keys = new Map(found.map((row) => [row, column.value(row)]));
    const compareKeys = (a, b) => (a === b ? 0 : a === null ? 1 : b === null ? -1 : (a < b ? -1 : 1) * (grid.down ? -1 : 1));
    found.sort((a, b) => compareKeys(keys.get(a), keys.get(b)));
  }
  return found;
}

function showTable() {
  const list = columnsOf();
  const columns = list.filter(isShown), active = document.activeElement;
  const before = { head: active?.closest("#trials thead th")?.cellIndex, row: active?.closest("#trials tbody tr")?.dataset.row };
  const head = document.querySelector("#trials thead");
  head.replaceChildren();
  const line = element("tr", null, head);
  for (const one of columns) {
    const side = LEFT.has(one.name) ? "left" : "";
    const sorted = grid.sort === one.name ? (grid.down ? "descending" : "ascending") : "none";
    const cellOf = element("th", null, line, { scope: "col", "aria-sort": sorted, class: side });
    const arrow = { ascending: " ▲", descending: " ▼", none: "" }[sorted];
    element("button", (one.label ?? one.name) + arrow, cellOf, { type: "button", title: `${one.name.replaceAll(" ", "_")} in the filter` }).addEventListener("click", () => {
      grid.down = grid.sort === one.name ? !grid.down : one.most ?? data.objectives[one.name]?.maximize ?? false;
      grid.sort = one.name;
      showTable();
    });
  }
  grid.order = ordered();
  const body = document.querySelector("#trials tbody");
  body.replaceChildren();
  for (const row of grid.order.slice(0, grid.limit)) {
    const entry = element("tr", null, body, { "data-row": row, tabindex: -1 });
    for (const one of columns) element("td", one.text(row), entry, { class: one.name === "made of" || one.name === "error" ? "left words" : LEFT.has(one.name) ? "left" : "" });
  }
  byId("more").hidden = grid.order.length <= grid.limit;
  byId("more").textContent = `Show more (${grid.order.length - grid.limit} left)`;
  byId("shown").textContent = `${grid.order.length} of ${rows.n}${grid.hint}`;
  markTable();
  // Whoever was in the table by keyboard still is.
  if (before.head !== undefined) head.querySelectorAll("button")[before.head]?.focus();
  else if (before.row !== undefined) body.querySelector(`tr[data-row="${before.row}"]`)?.focus();
  if (body.rows.length && !body.querySelector("tr[tabindex='0']")) body.rows[0].tabIndex = 0;
}

function markTable() {
  for (const entry of document.querySelectorAll("#trials tbody tr")) {
    const row = Number(entry.dataset.row);
    entry.classList.toggle("chosen", selection.has(row));
    entry.classList.toggle("focus", row === focus);
    entry.setAttribute("aria-selected", selection.has(row));
    if (row === focus) entry.tabIndex = 0;
  }
  byId("chosen").textContent = selection.size ? `${selection.size} of ${rows.n} trials selected` : "Nothing selected";
  byId("clear").disabled = !selection.size;
  const all = grid.order.length === rows.n ? "all trials" : `the ${grid.order.length} trials in the table`;
  byId("csv").textContent = `CSV of ${selection.size ? "the selection" : all}`;
}
listeners.push(() => byId("only").checked ? showTable() : markTable());

function showColumns() {
  const box = document.querySelector("#columns > div");
  box.replaceChildren();
  for (const one of columnsOf()) {
    const label = element("label", null, box), tick = element("input", null, label, { type: "checkbox" });
    tick.checked = isShown(one);
    label.append(" " + (one.label ?? one.name));
    tick.addEventListener("change", () => { grid.shown.set(one.name, tick.checked); showTable(); });
  }
}

// In the record's units; a spreadsheet must not take words for a formula.
function csvText(members) {
  const field = (value) => {
    if (value === null || value === undefined) return "";
    const text = typeof value === "string" && /^[=+@\t\r-]/.test(value) ? "'" + value : words(value);
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const numbers = ["score.", "low.", "high.", "param.", "seconds."].flatMap((prefix) => named(prefix).map((name) => [prefix + name, (row) => cell(prefix + name, row)]));
  for (const name of scattered()) numbers.push(["low." + name, (row) => bounds(name, row)?.[0]], ["high." + name, (row) => bounds(name, row)?.[1]]);
  if (smoothing()) numbers.push([`${data.curve}.smoothed`, (row) => smoothed(row)?.value], [`${data.curve}.smoothed.low`, (row) => smoothed(row)?.low],
    [`${data.curve}.smoothed.high`, (row) => smoothed(row)?.high], ["front_smoothed", onSmoothedFront], ["front_probability_observed", observedChance]);
  if (uncertain()) numbers.push(["front_probability", chance]);
  const head = ["study", "trial", "status", ...numbers.map(([name]) => name.replace(/^score\./, "")), "error"];
  const lines = members.map((row) => [studies[rows.study[row]].name, number(row), status(row), ...numbers.map(([, value]) => value(row)), cell("error", row)]);
  return [head, ...lines].map((line) => line.map(field).join(",")).join("\n") + "\n";
}

function download() {
  const members = selection.size ? [...selection].sort((a, b) => a - b) : grid.order;
  const link = element("a", null, document.body, { download: "trials.csv",
    href: URL.createObjectURL(new Blob([csvText(members)], { type: "text/csv" })) });
  link.click();
  URL.revokeObjectURL(link.href);
  link.remove();
}

function startTable() {
  const body = document.querySelector("#trials tbody");
  const rowOf = (event) => { const entry = event.target.closest("tr[data-row]"); return entry ? Number(entry.dataset.row) : null; };
  body.addEventListener("click", (event) => { if (rowOf(event) !== null) click(rowOf(event), event); });
  body.addEventListener("keydown", (event) => {
    const entry = event.target.closest("tr[data-row]");
    if (!entry) return;
    const step = { ArrowDown: entry.nextElementSibling, ArrowUp: entry.previousElementSibling }[event.key];
    if (step) step.focus();
    else if (event.key === "Enter" || event.key === " ") click(Number(entry.dataset.row), event);
    else return;
    event.preventDefault();
  });
  byId("filter").addEventListener("input", () => { grid.limit = PAGE; showTable(); });
  byId("only").addEventListener("change", showTable);
  byId("more").addEventListener("click", () => { grid.limit += 5 * PAGE; showTable(); });
  byId("csv").addEventListener("click", download);
  byId("clear").addEventListener("click", () => choose([]));
  byId("columns").addEventListener("toggle", showColumns);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape" && selection.size && event.target !== byId("filter")) choose([]); });
}
