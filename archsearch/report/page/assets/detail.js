// Details of one trial: drawing, scores, learning curve, environment, rivals, and the command that repeats it.

function pairs(list, parent) {
  const body = element("tbody", null, element("table", null, parent, { class: "plain" }));
  for (const [name, value, told = {}] of list) {
    const line = element("tr", null, body);
    element("th", name, line, { scope: "row" });
    const place = element("td", null, line, told);
    value instanceof Node ? place.append(value) : place.textContent = value;
  }
}

function copying(text, what, parent) {
  const button = element("button", `Copy ${what}`, parent, { type: "button" });
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = element("textarea", text, document.body);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = `Copy ${what}`; }, 1500);
  });
}

// A block from its tree of shapes; the signal runs upwards.
function drawShape(shape, mixer) {
  if (shape.box !== undefined) {
    if (shape.kind === "mixer" && shape.box === "mixer" && mixer) return drawShape(mixer, null);
    return element("div", shape.box, null, { class: "box", style: `background: var(--${shape.kind})` });
  }
  if (shape.wire !== undefined) return element("div", shape.wire, null, { class: "wire" });
  if (shape.column !== undefined) {
    const flow = element("div", null, null, { class: "flow" });
    flow.append(...shape.column.map((part) => drawShape(part, mixer)));
    if (!shape.residual) return flow;
    const added = element("div", null, null, { class: "added" });
    element("div", null, added, { class: "loop" });
    added.append(flow);
    return added;
  }
  const flow = element("div", null, null, { class: "flow" });
  const side = element("div", null, null, { class: "side" });
  for (const part of shape.branches) element("div", null, side).append(drawShape(part, mixer));
  flow.append(drawShape({ box: shape.split, kind: "move" }), side, drawShape({ box: shape.join, kind: "move" }));
  return flow;
}

function drawing(row, parent) {
  const box = element("div", null, parent, { class: "drawings" });
  const depths = cell("arch.depths", row), dims = cell("arch.dims", row);
  const alike = [];
  rows.mixers[row].forEach((mixer, stage) => {
    const block = rows.blocks[row][stage], last = alike.at(-1);
    if (last && last.mixer.text === mixer.text && last.block === block) last.stages.push(stage);
    else alike.push({ mixer, block, stages: [stage] });
  });
  for (const { mixer, block, stages } of alike) {
    const one = element("div", null, box, { class: "drawing" });
    const span = stages.length > 1 ? `stages ${stages[0] + 1} to ${stages.at(-1) + 1}` : `stage ${stages[0] + 1}`;
    element("strong", span, one);
    element("div", `C = ${stages.map((stage) => dims[stage]).join(", ")}`, one, { class: "muted" });
    element("div", `blocks: ${stages.map((stage) => depths[stage]).join(", ")}`, one, { class: "muted" });
    one.append(drawShape(block, mixer.shape));
    one.title = mixer.text;
  }
}

function behind(name, row) {
  const objective = data.objectives[name];
  const told = [shownScore(name, row, 4)];
  const ends = bounds(name, row), values = cell("values." + name, row);
  if (ends) told.push(`(95 % confidence interval ${eng(ends[0], objective)} to ${eng(ends[1], objective)})`);
  const noise = studies[rows.study[row]].noise[name];
  if (ends && noise) told.push(`the interval is ${noise.words}`);
  if (values) told.push(`mean of seeds ${cell("seeds." + name, row).map((seed, i) => `${seed}: ${eng(values[i], objective)}`).join(", ")}`);
  if (cell("note." + name, row)) told.push(`without a further seed: ${cell("note." + name, row)}`);
  const smooth = name === data.curve ? smoothed(row) : null;
  if (smooth) told.push(`smoothed ${eng(smooth.value, objective, 4)} (${eng(smooth.low, objective)} to ${eng(smooth.high, objective)} with 95 % probability)${onSmoothedFront(row) ? ", on the front of smoothed scores" : ""}`);
  const ratio = cell("ratio." + name, row);
  if (ratio) told.push(`${ratio[0].toFixed(2)} times as fast as the reference (${ratio[1].toFixed(2)} to ${ratio[2].toFixed(2)})`);
  const setting = cell("setting." + name, row);
  if (setting) told.push(setting);
  const reused = cell("reused." + name, row);
  if (reused) told.push(`reused from ${reused}`);
  return told.join("; ").replace("; (", " (");
}

// How another trial's score differs, in words of the score's own.
function difference(name, one, other) {
  const a = score(name, one), b = score(name, other), share = type(data.objectives[name]) === "%";
  const gap = share ? 100 * (b - a) : 100 * (b / a - 1);
  return `${gap > 0 ? "+" : ""}${gap.toFixed(1)} ${share ? "points" : "%"}`;
}

// Of a dominated trial, the front's members that are better; of one on the front, its neighbours in each score.
// Compared here, for the one trial that is looked at: for all trials it would be as long as the page.
function rivals(row) {
  const study = studies[rows.study[row]], names = study.objectives;
  const front = study.rows.filter((other) => other !== row && status(other) === "front");
  if (status(row) === "dominated") {
    const over = front.filter((other) => names.every((name) => !better(name, score(name, row), score(name, other))));
    return { heading: "Dominated by", over: over.slice(0, 8), more: over.length - 8 };
  }
  if (status(row) !== "front") return { heading: "", over: [], more: 0 };
  const near = new Set();
  for (const name of names) {
    const sorted = [...front, row].sort((a, b) => score(name, a) - score(name, b)), at = sorted.indexOf(row);
    for (const other of [sorted[at - 1], sorted[at + 1]]) if (other !== undefined) near.add(other);
  }
  return { heading: "Next to it on the front", over: [...near].slice(0, 8), more: 0 };
}

function compare(row, parent) {
  const { heading, over, more } = rivals(row), names = studies[rows.study[row]].objectives;
  if (!over.length) return;
  element("h3", heading + (more > 0 ? ` these and ${more} others` : ""), parent);
  const table = element("table", null, element("div", null, parent, { class: "scroll" }));
  const head = element("tr", null, element("thead", null, table));
  for (const name of ["trial", ...names.map((name) => data.objectives[name].title)]) element("th", name, head, { style: "padding: .1rem .6rem" });
  const body = element("tbody", null, table);
  for (const other of over) {
    const line = element("tr", null, body);
    const link = element("button", String(number(other)), element("td", null, line), { type: "button", title: describe(other) });
    link.addEventListener("click", () => choose([row, other], other));
    for (const name of names) element("td", difference(name, row, other), line);
  }
}

function config(row) {
  const told = {};
  for (const name of named("arch.")) {
    told[name] = cell("arch." + name, row);
    if (name === "dims") told.mixers = rows.mixers[row].map((mixer) => mixer.config);
  }
  return JSON.stringify(told, null, 1);
}

// Updates what other trials change of this one; the rest stays, with whatever is open or being read.
function showNoise(box, row) {
  box.querySelector(".chance").textContent = chance(row) === null ? "" : `${chanceTold(row)[0].toUpperCase()}${chanceTold(row).slice(1)}.`;
  for (const place of box.querySelectorAll("[data-score]")) {
    const told = behind(place.dataset.score, row);
    if (place.textContent !== told) place.textContent = told;
  }
}

function showDetail() {
  const box = byId("detail"), looked = focus === null ? null : `${focus} ${status(focus)} ${rivals(focus).over}`;
  if (looked && looked === box.dataset.looked) return showNoise(box, focus);
  box.dataset.looked = looked;
  box.replaceChildren();
  if (focus === null) {
    element("p", noneDone() ?? "Click a trial to see its architecture.", box, { class: "muted" });
    return;
  }
  const row = focus, study = studies[rows.study[row]];
  box.dataset.trial = number(row);
  element("h2", title(row).replace("trial", "Trial"), box);
  element("p", `${data.looks[status(row)].label}: ${describe(row)}`, box);
  element("p", null, box, { class: "chance" });
  if (cell("error", row)) element("p", cell("error", row), box, { class: "error" });
  for (const name of named("excess.")) {
    const share = cell("excess." + name, row);
    const missed = share < 0.001 ? "less than 0.1" : (100 * share).toFixed(1);
    if (share > 0) element("p", `Not trained: it violates the constraint ${name} by ${missed} %.`, box, { class: "error" });
  }
  drawing(row, box);
  for (const [subject, what] of [["target", "Target network, counted and measured"], ["proxy", "Proxy network, trained"]]) {
    const known = scores().filter((name) => data.objectives[name].subject === subject && score(name, row) !== null);
    if (!known.length) continue;
    element("h3", what, box);
    pairs(known.map((name) => [data.objectives[name].noun, behind(name, row), { "data-score": name }]), box);
  }
  showNoise(box, row);
  const curve = cell("curve.epoch", row);
  if (curve) {
    const losses = cell("curve.loss", row), reached = cell("curve.score", row);
    element("p", "epochs: " + curve.map((epoch, i) => `${epoch}: loss ${((losses[i] ?? NaN) / 1e3).toFixed(3)}, ${((reached[i] ?? NaN) / 100).toFixed(1)} %`).join("; "), box, { class: "muted small" });
  }
  compare(row, box);
  if (study.command) {
    element("h3", "Repeat it", box);
    const command = `${study.command} --repeat ${number(row)}`;
    element("pre", command, box);
    copying(command, "the command", box);
    if (command.includes("***")) element("p", "Put the storage's password back where *** stands.", box, { class: "muted small" });
  }
  const more = element("details", null, box);
  element("summary", "Architecture, to copy", more);
  copying(config(row), "the architecture", more);
  element("pre", config(row), more);
  const around = element("details", null, box);
  element("summary", "Environment", around);
  pairs([["seed", String(cell("seed", row))], ...named("seconds.").filter((name) => cell("seconds." + name, row) !== null)
    .map((name) => [`seconds to ${name}`, String(cell("seconds." + name, row))]),
  ...named("env.").filter((name) => cell("env." + name, row) !== null).map((name) => [name, words(cell("env." + name, row))])], around);
}
listeners.push(showDetail);
