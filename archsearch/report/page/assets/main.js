// The page: fills the controls, draws what can be seen, follows a study that is running.

function options(select, list, wanted) {
  const before = select.dataset.chosen ? select.value : null;
  if (select.dataset.list === JSON.stringify(list) && before !== null) return;
  select.dataset.list = JSON.stringify(list);
  select.replaceChildren(...list.map(([value, text]) => element("option", text, null, { value })));
  const values = list.map(([value]) => value);
  select.value = values.includes(before) ? before : values.includes(wanted) ? wanted : values[0] ?? "";
}

function fillControls() {
  const list = scores().map((name) => [name, data.objectives[name].title]);
  const shared = scores().filter((name) => studies.every((study) => study.objectives.includes(name)));
  const [first, second, third] = [...shared, ...scores().filter((name) => !shared.includes(name))];
  options(byId("pareto-x"), list, second ?? first);
  options(byId("pareto-y"), list, first);
  options(byId("space-x"), list, second);
  options(byId("space-y"), list, third);
  options(byId("space-z"), list, first);
  options(byId("slice-y"), list, first);
  const axes = named("param.");
  const telling = studies[0]?.importance[first]?.[0]?.axis;
  options(byId("slice-x"), axes.map((name) => [name, name]), telling);
}

/* The device that the speeds are of: of another machine, where a file has them. */
function timedOn(study) {
  return study.recipe.speeds?.device ?? study.recipe.device;
}

function showStudies() {
  const box = byId("studies");
  box.replaceChildren();
  for (const study of studies) {
    const counts = {};
    for (const row of study.rows) counts[status(row)] = (counts[status(row)] ?? 0) + 1;
    const told = Object.entries(data.looks).filter(([kind]) => counts[kind] && kind !== "dominated")
      .map(([kind, look]) => `${counts[kind]} ${look.label}`);
    const disturbed = study.rows.filter((row) => cell("warned", row)).length;
    if (disturbed) told.push(`${disturbed} timed while the machine was disturbed`);
    if (study.running) told.push(`${study.running} running`);
    const bounds = study.recipe.constraints?.length ? ` Constraints: ${study.recipe.constraints.join(", ")}.` : "";
    const scatter = scattered().filter((name) => study.noise[name]).map((name) => ` Confidence intervals of ${data.objectives[name].title} are ${study.noise[name].words}.`).join("")
      + (study.noise.chances ? ` P(front) is ${study.noise.chances.words}.` : "");
    const line = element("p", null, box, { class: "study" });
    if (several()) element("span", null, line, { class: "chip", style: `background: ${data.palette[study.place % data.palette.length]}` });
    if (several()) element("strong", study.name + ": ", line);
    line.append([`${study.rows.length} trials of space ${study.recipe.space_name}`, ...told].join(", ")
      + `. Accuracy is that of a proxy network${study.proxy_network ? ` (of the baseline: ${study.proxy_network})` : ""} trained on ${study.recipe.data?.name}; costs are those of the target network on ${timedOn(study)}${study.recipe.speeds ? ", read from benchmark's results" : ""}${study.recipe.bench?.img_size ? `, speeds at ${study.recipe.bench.img_size} px` : ""}.${bounds}${scatter}`);
    if (study.ranking) element("p", `${several() ? study.name + ": " : ""}${study.ranking}.`, box, { class: "study ranking" });
  }
  showSmallMaps(box);
  const recipes = new Set(studies.map((study) => JSON.stringify([study.recipe.proxy, study.recipe.data, study.recipe.trainer])));
  if (recipes.size > 1) element("p", "These proxy networks were trained by different recipes; their accuracies cannot be compared.", box, { class: "error" });
  const devices = new Set(studies.map(timedOn));
  if (devices.size > 1) element("p", "These studies measured on different devices; their speeds cannot be compared.", box, { class: "error" });
}

/* Kernel sizes that a study's maps are too small to judge; several studies often have the same. */
function showSmallMaps(box) {
  const told = new Map();
  for (const study of studies) if (study.small_maps.length) {
    const words = study.small_maps.join(" ");
    told.set(words, [...(told.get(words) ?? []), study.name]);
  }
  for (const [words, names] of told)
    element("p", (several() ? names.join(", ") + ": " : "") + words, box, { class: "error maps" });
}

function showRecipes() {
  const box = byId("recipes");
  for (const made of [...data.studies, ...data.ablations]) {
    const one = element("details", null, box);
    element("summary", `${made.name}: space, proxy recipe, timing, data, seed`, one);
    if (made.command) element("p", "Continue or repeat: ", one, { class: "muted" }).append(element("code", made.command));
    element("pre", JSON.stringify(made.recipe, null, 1), one);
  }
}

function theme(name) {
  document.documentElement.dataset.theme = name;
  byId("theme").textContent = name === "dark" ? "Light" : "Dark";
}

function startTheme() {
  let kept = null;
  try { kept = localStorage.getItem("archsearch-theme"); } catch { /* where storage is off, it is not kept */ }
  const preferred = matchMedia("(prefers-color-scheme: dark)");
  theme(kept ?? (preferred.matches ? "dark" : "light"));
  byId("theme").addEventListener("click", () => {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    theme(next);
    try { localStorage.setItem("archsearch-theme", next); } catch { /* as above */ }
    redraw();
  });
  preferred.addEventListener("change", () => { if (!kept) { theme(preferred.matches ? "dark" : "light"); redraw(); } });
}

// Only what has changed is drawn again: whoever reads or types is left alone.
const state = () => JSON.stringify([rows.n, studies.map((study) => [[...study.front], study.importance, study.confirmation])]);
function takeNews(news) {
  const before = state();
  news.studies.forEach((told, place) => take(place, told));
  data.common = news.common;
  data.live.version = news.version;
  showStudies();
  showConfirmations();
  if (state() === before) return;
  fillControls();
  remember();
  focus ??= opening();
  redraw();
  showTable();
  showDetail();
  if (parallel.byBrush && parallel.plotted) brushed(parallel);
}

// A selection outlives a page that has to be loaded again.
const MEMORY = "archsearch-selection";
const nameOf = (row) => [studies[rows.study[row]].name, number(row)];
function again() {
  try { sessionStorage.setItem(MEMORY, JSON.stringify([[...selection].map(nameOf), focus === null ? null : nameOf(focus)])); } catch { /* it is lost then */ }
  location.reload();
}
function remember() {
  let kept = null;
  try { kept = JSON.parse(sessionStorage.getItem(MEMORY)); sessionStorage.removeItem(MEMORY); } catch { /* nothing was kept */ }
  if (!kept) return;
  const places = new Map([...Array(rows.n).keys()].map((row) => [String(nameOf(row)), row]));
  for (const name of kept[0]) if (places.has(String(name))) selection.add(places.get(String(name)));
  focus = places.get(String(kept[1])) ?? null;
}

// Asks the server for updates.
async function follow() {
  const told = byId("live");
  told.hidden = false;
  const tell = (words) => { if (told.textContent !== words) told.textContent = words; };
  for (;;) {
    let news = null;
    try {
      const have = studies.map((study) => study.rows.length).join(",");
      const answer = await fetch(`data?run=${data.live.run}&version=${data.live.version}&have=${have}`, { cache: "no-store" });
      if (answer.status === 410) return again(); // another server, which counts anew
      if (!answer.ok) throw new Error(await answer.text());
      news = await answer.json();
    } catch (error) {
      tell("not connected: the dashboard has stopped or cannot be reached; this page shows the last state");
    }
    if (news) {
      tell(news.trouble ?? "live");
      if (news.version !== data.live.version) takeNews(news);
    }
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

// The trial whose details are shown first: the front's best in the first objective.
function opening() {
  const front = [...Array(rows.n).keys()].filter((row) => status(row) === "front");
  const name = scores()[0];
  front.sort((a, b) => (better(name, score(name, a), score(name, b)) ? -1 : 1));
  return front[0] ?? (rows.n ? 0 : null);
}

document.title = `${data.title} - archsearch`;
byId("title").textContent = data.title;
startTheme();
if (data.studies.length) {
  byId("searches").hidden = false;
  data.studies.forEach((part, place) => take(place, part));
  showStudies();
  showConfirmations();
  fillControls();
  for (const [id, drawn] of [["pareto-x", "pareto"], ["pareto-y", "pareto"], ["errors", "pareto"], ["marks", "pareto"], ["confirmed", "pareto"], ["space-x", "space"],
    ["space-y", "space"], ["space-z", "space"], ["hypervolume-x", "hypervolume"], ["slice-x", "slice"], ["slice-y", "slice"]])
    byId(id).addEventListener("change", () => { byId(id).dataset.chosen = "yes"; redraw(drawn); });
  focus = opening();
  startTable();
  showDetail();
  requestAnimationFrame(() => setTimeout(showTable));
}
data.ablations.forEach(showAblation);
showRecipes();
if (data.live) follow();

// For scripts: rows are counted in the order of the studies' trials.
const chartOf = (id) => charts.find((made) => made.id === id);
window.archsearch = { select: (list) => choose(list === "half" ? [...Array(rows.n).keys()].filter((row) => row % 2) : list), csvText,
  drawn: (id) => chartOf(id).plotted && !chartOf(id).dirty,
  marked: (id) => (chartOf(id).marked ?? []).map(number).sort((a, b) => a - b) };
