// Charts. Each draws itself when it can be seen, and marks the selection.

const charts = [];
const CONFIG = { responsive: false, displaylogo: false, toImageButtonOptions: { format: "svg" },
  modeBarButtonsToRemove: ["autoScale2d"], scrollZoom: false };
const GL_FROM = 1500;
const MOST_CURVES = 40;
// Beyond as many, every second, third, ... selected line stands for the others between the axes.
const MOST_LINES = 300;
const webgl = (() => {
  try { return Boolean(document.createElement("canvas").getContext("webgl")); } catch { return false; }
})();
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// draw() gives { data, layout, rows } with the rows of each trace's points, or words where there is nothing to draw.
// The selection is drawn on a canvas above: to have Plotly mark thousands of points takes it a second.
function chart(id, draw, { overlay = null, after = null, follows = false } = {}) {
  const box = byId(id), holder = element("div", null, null, { class: "holder" });
  box.replaceWith(holder);
  holder.append(box);
  const made = { id, box, draw, overlay, after, follows, visible: false, dirty: "draw", rows: [], plotted: false };
  if (overlay) made.canvas = element("canvas", null, holder, { "aria-hidden": "true" });
  charts.push(made);
  new IntersectionObserver((entries) => {
    made.visible = entries.at(-1).isIntersecting;
    if (made.visible) later(made);
  }, { rootMargin: "150px" }).observe(box);
  new ResizeObserver(() => {
    if (made.plotted && box.clientWidth && Math.abs(box.clientWidth - (made.width ?? 0)) > 1) {
      made.width = box.clientWidth;
      Plotly.Plots.resize(box).then(() => highlight(made));
    }
  }).observe(box);
  return made;
}

// Charts that came into sight are painted one by one, in the order of the page, so that the first is there soon.
let painting = false;
function later() {
  if (painting) return;
  painting = true;
  const next = () => {
    const made = charts.find((one) => one.visible && one.dirty);
    if (made) refresh(made);
    painting = Boolean(made);
    if (made) setTimeout(next);
  };
  setTimeout(next);
}

function refresh(made) {
  if (!made.visible || !made.dirty) return;
  const wanted = made.dirty;
  made.dirty = null;
  if (wanted === "draw" || made.follows || !made.plotted) paint(made);
  highlight(made);
}

function paint(made) {
  const drawn = made.draw(made);
  if (typeof drawn === "string") {
    if (made.plotted) Plotly.purge(made.box);
    made.plotted = false;
    made.box.replaceChildren();
    made.box.classList.add("empty");
    element("p", drawn, made.box);
    return;
  }
  const first = !made.plotted;
  if (first) {
    made.box.classList.remove("empty");
    made.box.replaceChildren();
  }
  made.rows = drawn.rows ?? [];
  made.width = made.box.clientWidth;
  Plotly.react(made.box, drawn.data, drawn.layout, CONFIG);
  made.plotted = true;
  if (first) {
    made.after?.(made);
    for (const event of made.overlay ? ["plotly_afterplot", "plotly_relayouting", "plotly_relayout", "plotly_restyle"] : [])
      made.box.on(event, () => highlight(made));
  }
  performance.clearMarks("painted " + made.id);
  performance.mark("painted " + made.id);
}

function highlight(made) {
  if (!made.overlay) return;
  const { canvas, box } = made, ratio = window.devicePixelRatio || 1;
  canvas.width = box.clientWidth * ratio;
  canvas.height = box.clientHeight * ratio;
  made.marked = [];
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  box.classList.toggle("faded", made.plotted && made.overlay(made, context) && selection.size > 0);
}

const redraw = (...ids) => charts.forEach((made) => {
  if (!ids.length || ids.includes(made.id)) { made.dirty = "draw"; later(); }
});

listeners.push(() => charts.forEach((made) => {
  made.dirty ??= made.overlay || made.follows ? "highlight" : null;
  if (made.dirty === "highlight" && !made.follows) refresh(made);
  else later();
}));

// A legend under the axis' title; on a phone there is less height for it to be a share of.
const below = (y) => innerWidth < 700 ? { orientation: "h", y: -0.4, yanchor: "top", font: { size: 10.5 } } : { orientation: "h", y, yanchor: "top" };

function layout(more = {}) {
  const axis = { gridcolor: css("--grid"), zerolinecolor: css("--line"), linecolor: css("--line"), automargin: true };
  const dressed = { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: css("--ink"), size: 12.5 },
    margin: { l: 55, r: 15, t: 30, b: 45 }, legend: below(-0.24), hovermode: "closest",
    hoverlabel: { align: "left" }, modebar: { bgcolor: "rgba(0,0,0,0)", color: css("--muted"), activecolor: css("--ink") },
    colorway: data.palette, dragmode: "select", ...more };
  for (const name of ["xaxis", "yaxis"]) dressed[name] = { ...axis, ...dressed[name] };
  return dressed;
}

const axis = (name) => ({ title: { text: axisTitle(name) }, tickformat: ticks(name) });

// The selection, as Plotly reports it after a drag.
const dragged = (made) => {
  made.box.on("plotly_selected", (event) => {
    if (!event || event.selections?.length === 0) return; // told when a box is taken away, too
    made.dragged = true;
    choose(event.points.flatMap((point) => made.rows[point.curveNumber]?.[point.pointNumber] ?? []));
    made.dragged = false;
    made.boxed = true;
  });
  made.box.on("plotly_deselect", () => { if (made.boxed) { made.boxed = false; choose([]); } });
  clicked(made);
};
// A box that was dragged goes with its selection.
listeners.push(() => {
  for (const made of charts.filter((one) => one.boxed && !one.dragged)) {
    made.boxed = false;
    if (made.plotted) Plotly.relayout(made.box, { selections: [] });
  }
});
const clicked = (made) => made.box.on("plotly_click", (event) => {
  const point = event.points[0], row = made.rows[point.curveNumber]?.[point.pointNumber];
  if (row !== undefined) click(row, event.event);
});

// Places of trials on an axis; those without a score stand beyond the worst, each kind at its own distance.
const placed = (name) => (row) => score(name, row) ?? data.common.beyond[name]?.[status(row)] ?? null;

// Rows of every study by status, in the order of the legend.
function* groups() {
  for (const study of studies) {
    const parts = Object.fromEntries(Object.keys(data.looks).map((kind) => [kind, []]));
    for (const row of study.rows) parts[status(row)].push(row);
    for (const [kind, members] of Object.entries(parts)) {
      if (!members.length) continue;
      const look = data.looks[kind];
      yield { kind, study, members, look, name: several() ? `${study.name}: ${look.label}` : look.label,
        colour: several() ? data.palette[study.place % data.palette.length] : look.colour };
    }
  }
}

function hover(members, names) {
  return members.map((row) => [`<b>${escaped(title(row))}</b>`, escaped(describe(row)),
    ...names.map((name) => `${data.objectives[name].title}: ${shownScore(name, row, 4)}`),
    ...(chance(row) === null ? [] : [escaped(chanceTold(row))]),
    ...(cell("error", row) ? [escaped(cell("error", row))] : [])].join("<br>"));
}
// Plotly reads a few tags in its texts.
const escaped = (text) => String(text).replace(/[<>&]/g, (c) => ({ "<": "&lt;", ">": "&gt;", "&": "&amp;" })[c]).replaceAll("%{", "% {");

function points(type, names, letters = "xyz") {
  const places = names.map(placed);
  const traces = [], members = [];
  for (const group of groups()) {
    const trace = { type, mode: "markers", uid: `${group.study.place} ${group.kind}`, name: escaped(group.name), text: hover(group.members, names),
      hovertemplate: `%{text}<extra>${group.look.label}</extra>`,
      marker: { color: group.colour, symbol: group.look.symbol, size: type === "scatter3d" ? group.look.size * 0.6 : group.look.size } };
    trace.unselected = { marker: { opacity: 1 } }; // what Plotly itself would fade after a drag
    names.forEach((name, i) => { trace[letters[i]] = group.members.map(places[i]); });
    traces.push(trace);
    members.push(group.members);
  }
  return { traces, members };
}

// Draws the selected points of a chart again, over all others, and a ring around the one that is looked at.
function drawPoints(made, context, place, clip, scale = 1) {
  context.save();
  if (clip) {
    context.beginPath();
    context.rect(...clip);
    context.clip();
  }
  if (selection.size) made.rows.forEach((members, i) => {
    if (!members || (made.box.data[i].visible ?? true) !== true) return; // hidden by the legend
    const { color, symbol, size } = made.box.data[i].marker;
    context.strokeStyle = context.fillStyle = color;
    context.lineWidth = 1.4;
    context.beginPath();
    for (const row of members) if (selection.has(row)) {
      const at = place(row);
      if (!at) continue;
      made.marked.push(row);
      SYMBOLS[symbol](context, at[0], at[1], scale * size / 2);
    }
    symbol === "diamond" || symbol === "cross" ? context.fill() : context.stroke();
  });
  const ring = focus === null ? null : place(focus);
  if (ring) {
    context.strokeStyle = css("--ink");
    context.lineWidth = 2;
    context.beginPath();
    context.arc(ring[0], ring[1], 10, 0, 7);
    context.stroke();
  }
  context.restore();
}

// As Plotly draws them; r is half their size.
const SYMBOLS = {
  "circle-open": (c, x, y, r) => { c.moveTo(x + r, y); c.arc(x, y, r, 0, 7); },
  diamond: (c, x, y, r) => { const d = r * 1.3; c.moveTo(x, y - d); c.lineTo(x + d, y); c.lineTo(x, y + d); c.lineTo(x - d, y); c.closePath(); },
  "square-open": (c, x, y, r) => c.rect(x - r, y - r, 2 * r, 2 * r),
  cross: (c, x, y, r) => { c.rect(x - r * 1.1, y - r * 0.4, r * 2.2, r * 0.8); c.rect(x - r * 0.4, y - r * 1.1, r * 0.8, r * 2.2); },
  x: (c, x, y, r) => { c.moveTo(x - r, y - r); c.lineTo(x + r, y + r); c.moveTo(x - r, y + r); c.lineTo(x + r, y - r); },
};

function over2d(made, context) {
  const { xaxis, yaxis } = made.box._fullLayout;
  const place = (row) => { const [x, y] = made.at(row); return [xaxis._offset + xaxis.d2p(x), yaxis._offset + yaxis.d2p(y)]; };
  drawPoints(made, context, place, [xaxis._offset, yaxis._offset, xaxis._length, yaxis._length]);
  return true;
}

// By the camera of Plotly's scene, as its annotations in three dimensions are placed.
function over3d(made, context) {
  const scene = made.box._fullLayout.scene?._scene, camera = scene?.glplot?.cameraParams;
  if (!camera || !scene.dataScale) return false;
  const frame = scene.container.getBoundingClientRect(), outer = made.box.getBoundingClientRect();
  const times = (m, v) => [0, 1, 2, 3].map((i) => m[i] * v[0] + m[4 + i] * v[1] + m[8 + i] * v[2] + m[12 + i] * v[3]);
  const place = (row) => {
    const [x, y, z] = made.at(row).map((value, i) => value * scene.dataScale[i]);
    const p = times(camera.projection, times(camera.view, times(camera.model, [x, y, z, 1])));
    return [frame.left - outer.left + (0.5 + 0.5 * p[0] / p[3]) * frame.width, frame.top - outer.top + (0.5 - 0.5 * p[1] / p[3]) * frame.height];
  };
  drawPoints(made, context, place, null, 2);
  return true;
}

const type2d = () => rows.n > GL_FROM && webgl ? "scattergl" : "scatter";

// The front

function frontLine(study, x, y) {
  const places = study.fronts[`${x} ${y}`] ?? study.fronts[`${y} ${x}`] ?? [];
  const steps = places.map((place) => study.rows[place]).sort((a, b) => score(x, a) - score(x, b));
  return { type: "scatter", mode: "lines", name: several() ? escaped(study.name) + ": front of this pair" : "front of this pair",
    showlegend: !several(), hoverinfo: "skip", x: steps.map((row) => score(x, row)), y: steps.map((row) => score(y, row)),
    line: { color: several() ? data.palette[study.place % data.palette.length] : "#e69f00", width: 2, dash: "dot",
      shape: data.objectives[x].maximize ? "vh" : "hv" } };
}

function interval(name, members) {
  const far = (end) => members.map((row) => {
    const ends = bounds(name, row), value = score(name, row);
    return ends === null || value === null ? 0 : Math.abs(ends[end] - value);
  });
  return { type: "data", symmetric: false, array: far(1), arrayminus: far(0), thickness: 1, width: 2 };
}

// The paper's networks of about the trials' size, where a counted score is on an axis.
function paperMarks(x, y) {
  if (!byId("marks").checked) return { traces: [], shapes: [], notes: [] };
  const counted = data.counted.filter((name) => name === x || name === y), known = data.common.marks[counted.join(" ")] ?? [];
  const about = (mark) => `${mark.name} in the paper: ${data.counted.map((name) => eng(mark[name], data.objectives[name])).join(", ")}, ${mark.top1} % on ImageNet`;
  const colour = css("--muted");
  if (counted.length === 2) {
    return { shapes: [], notes: [], traces: known.length ? [{ type: "scatter", mode: "markers+text", name: "the paper's networks",
      x: known.map((mark) => mark[x]), y: known.map((mark) => mark[y]), text: known.map((mark) => mark.name),
      textposition: "top center", textfont: { size: 11, color: colour }, hovertext: known.map(about), hoverinfo: "text",
      marker: { symbol: "star", size: 11, color: colour } }] : [] };
  }
  const upright = counted[0] === x;
  return { traces: [],
    shapes: known.map((mark) => ({ type: "line", layer: "below", line: { color: colour, width: 1, dash: "dash" },
      ...(upright ? { x0: mark[x], x1: mark[x], yref: "paper", y0: 0, y1: 1 } : { y0: mark[y], y1: mark[y], xref: "paper", x0: 0, x1: 1 }) })),
    notes: known.filter((mark) => mark.named).map((mark) => ({ text: mark.name, hovertext: about(mark), showarrow: false, font: { size: 10.5, color: colour },
      ...(upright ? { x: mark[x], yref: "paper", y: 1, textangle: -90, xanchor: "right", yanchor: "top" }
        : { y: mark[y], xref: "paper", x: 1, xanchor: "right", yanchor: "bottom" }) })) };
}

const noneDone = () => rows.n ? null : "No trial has finished yet.";

const pareto = chart("pareto", (made) => {
  const x = byId("pareto-x").value, y = byId("pareto-y").value;
  const { traces, members } = points(type2d(), [x, y]);
  if (!traces.length) return noneDone();
  if (byId("errors").checked) traces.forEach((trace, i) => {
    if (members[i].length > 400 && trace.marker.symbol !== "diamond") return; // thousands of bars hide the points
    const known = (name) => members[i].some((row) => bounds(name, row));
    if (known(x)) trace.error_x = interval(x, members[i]);
    if (known(y)) trace.error_y = interval(y, members[i]);
  });
  const px = placed(x), py = placed(y), paper = paperMarks(x, y);
  made.at = (row) => [px(row), py(row)];
  const lines = studies.map((study) => frontLine(study, x, y)), confirmed = confirmedIn(x, y);
  const more = [...confirmed.traces, ...paper.traces];
  return { data: [...lines, ...traces, ...more], rows: [...lines.map(() => null), ...members, ...more.map(() => null)],
    layout: layout({ xaxis: axis(x), yaxis: axis(y), shapes: paper.shapes, annotations: [...paper.notes, ...confirmed.arrows], uirevision: x + y, legend: below(-0.15) }) };
}, { overlay: over2d, after: dragged });

chart("space", (made) => {
  if (!webgl) return "Three dimensions need WebGL, which this browser does not have.";
  const names = ["x", "y", "z"].map((letter) => byId("space-" + letter).value);
  if (new Set(names).size < 3) return "Three different scores are needed for three dimensions.";
  const { traces, members } = points("scatter3d", names);
  if (!traces.length) return noneDone();
  const places = names.map(placed);
  made.at = (row) => places.map((place) => place(row));
  const scene = { aspectmode: "cube", dragmode: "turntable", camera: { eye: { x: 1.75, y: 1.75, z: 0.9 } } };
  names.forEach((name, i) => { scene["xyz"[i] + "axis"] = { ...axis(name), title: { text: data.objectives[name].axis },
    gridcolor: css("--line"), color: css("--ink"), backgroundcolor: "rgba(0,0,0,0)" }; });
  return { data: traces, rows: members,
    layout: layout({ scene, uirevision: names.join(), margin: { l: 0, r: 0, t: 10, b: 0 }, dragmode: "turntable" }) };
}, { after: clicked, overlay: over3d });

// Parameters and objectives

const short = (name) => data.objectives[name].noun;

function choices(name) {
  const values = rows.columns["param." + name];
  const present = [...new Set(values.filter((value) => value !== null).map(words))];
  present.sort((a, b) => Number(a) - Number(b) || (a < b ? -1 : 1));
  return [...(values.includes(null) ? ["-"] : []), ...present];
}

const parallel = chart("parallel", (made) => {
  if (!webgl) return "Parallel coordinates need WebGL, which this browser does not have.";
  const wanted = studies.flatMap((study) => study.objectives);
  const names = [...new Set(wanted)].filter((name) => studies.every((study) => study.objectives.includes(name)));
  const members = studies.flatMap((study) => study.rows.filter((row) => cell("state", row) === "complete"));
  if (!members.length) return noneDone() ?? "No trial is complete.";
  const dimensions = named("param.").map((name) => {
    const texts = choices(name), place = new Map(texts.map((text, i) => [text, i]));
    return { label: escaped(name), tickvals: texts.map((_, i) => i), ticktext: texts.map(escaped), range: [-0.2, texts.length - 0.8],
      values: members.map((row) => place.get(cell("param." + name, row) === null ? "-" : words(cell("param." + name, row)))) };
  }).filter((dimension) => dimension.ticktext.length > 1);
  dimensions.unshift(...names.map((name) => ({ label: short(name), tickformat: ticks(name), values: members.map((row) => score(name, row)) })));
  made.members = members;
  // A brush stays as long as its axis does: among other choices its range would mean others.
  for (const old of made.plotted ? made.box.data[0].dimensions : []) {
    const same = dimensions.find((one) => one.label === old.label && String(one.ticktext) === String(old.ticktext));
    if (same && old.constraintrange && made.byBrush) same.constraintrange = old.constraintrange;
  }
  made.shape = JSON.stringify([made.byBrush, dimensions.map((one) => [one.label, one.ticktext])]);
  made.box.parentElement.style.minWidth = 75 * dimensions.length + "px";
  const line = { color: members.map((row) => score(names[0], row)), colorscale: data.scale, showscale: false };
  return { rows: [], data: [{ type: "parcoords", dimensions, labelangle: -18, labelfont: { size: 12 }, line,
    unselected: { line: { color: css("--line"), opacity: 0.1 } } }],
    layout: layout({ margin: { l: 80, r: 50, t: 85, b: 25 }, uirevision: made.shape }) };
}, { overlay: overAxes, after: (made) => made.box.on("plotly_restyle", ([change]) => {
  if (Object.keys(change).some((key) => key.includes("constraintrange"))) brushed(made);
}) });

const limited = (made) => made.box.data[0].dimensions.filter((dimension) => dimension.constraintrange?.length);

// The selected trials as lines between the axes, wherever these have been dragged to.
function overAxes(made, context) {
  if (limited(made).length && made.byBrush) { // drawn by Plotly
    made.marked = [...selection];
    return false;
  }
  const outer = made.box.getBoundingClientRect(), axes = [];
  for (const group of made.box.querySelectorAll(".y-axis")) {
    const label = escaped(group.querySelector(".axis-title").textContent);
    const dimension = made.box._fullData[0].dimensions.find((one) => one.label === label);
    const line = group.querySelector(".axis path")?.getBoundingClientRect();
    if (!dimension || !line) return false;
    const brush = group.querySelector(".axis-brush").getBoundingClientRect();
    const [low, high] = dimension.range ?? extent(dimension.values);
    axes.push({ x: brush.left + brush.width / 2 - outer.left, values: dimension.values,
      y: (value) => line.bottom - outer.top - (high > low ? (value - low) / (high - low) : 0.5) * line.height });
  }
  axes.sort((a, b) => a.x - b.x);
  context.strokeStyle = css("--accent");
  context.lineWidth = 1.2;
  const chosen = made.members.map((row, at) => selection.has(row) ? at : -1).filter((at) => at >= 0);
  made.marked = chosen.map((at) => made.members[at]);
  const step = Math.max(1, Math.ceil(chosen.length / MOST_LINES));
  byId("parallel-of").textContent = step > 1 ? `Of ${chosen.length} selected trials ${Math.ceil(chosen.length / step)} are drawn.` : "";
  chosen.forEach((at, place) => {
    if (place % step) return;
    context.beginPath(); // one each: a path that crosses itself takes long to stroke
    axes.forEach((one, i) => { const y = one.y(one.values[at]); i ? context.lineTo(one.x, y) : context.moveTo(one.x, y); });
    context.stroke();
  });
  return true;
}

function extent(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values) { low = Math.min(low, value); high = Math.max(high, value); }
  return [low, high];
}

function brushed(made) {
  if (made.box._fullLayout.uirevision !== made.shape) return; // taken away, not made
  const limits = limited(made).map(({ values, constraintrange }) => [values, Array.isArray(constraintrange[0]) ? constraintrange : [constraintrange]]);
  const inside = (at) => limits.every(([values, ranges]) => ranges.some(([low, high]) => values[at] >= low && values[at] <= high));
  made.brushing = made.byBrush = true;
  choose(limits.length ? made.members.filter((_, at) => inside(at)) : []);
  made.brushing = false;
}
// A selection that is made elsewhere takes the brush's place.
listeners.unshift(() => {
  if (!parallel.byBrush || parallel.brushing) return;
  parallel.byBrush = false;
  parallel.dirty = "draw";
});

// As the study went on

chart("hypervolume", () => {
  const over = byId("hypervolume-x").value;
  const traces = studies.filter((study) => study.hypervolume.share.length).map((study) => ({ type: "scatter", mode: "lines+markers", name: escaped(study.name),
    x: study.hypervolume[over], y: study.hypervolume.share, line: { shape: "hv", color: data.palette[several() ? study.place % data.palette.length : 1] },
    marker: { size: 4 }, hovertemplate: `%{x} ${over}: %{y:.3f}<extra></extra>` }));
  if (!traces.length) return noneDone() ?? "No trial is complete.";
  return { data: traces, layout: layout({ xaxis: { title: { text: over === "trials" ? "trials" : "seconds of evaluation, all workers together" }, rangemode: "tozero" },
    yaxis: { title: { text: `hypervolume, share of the box of best and worst scores${several() ? " of all studies" : ""}` }, rangemode: "tozero" }, showlegend: several(), dragmode: "zoom", uirevision: over }) };
});

chart("curves", () => {
  const wanted = selection.size ? [...selection] : studies.flatMap((study) => study.rows.filter((row) => status(row) === "front"));
  const withCurve = wanted.filter((row) => cell("curve.epoch", row)?.length);
  byId("curves-of").textContent = `${selection.size ? "of the selection" : "of the front"}${withCurve.length > MOST_CURVES ? `, ${MOST_CURVES} of ${withCurve.length}` : ""}`;
  if (!withCurve.length) return "No training of these trials is on record.";
  const shown = withCurve.slice(0, MOST_CURVES);
  if (withCurve.includes(focus) && !shown.includes(focus)) shown[shown.length - 1] = focus;
  const traces = shown.map((row) => ({ type: "scatter", mode: "lines+markers", name: escaped(title(row)), x: cell("curve.epoch", row),
    y: cell("curve.score", row).map((value) => value === null ? null : value / 1e4), opacity: row === focus || !selection.has(focus) ? 1 : 0.55,
    line: { width: row === focus ? 3.5 : 1.5 }, hovertemplate: `${escaped(title(row))}<br>epoch %{x}: %{y:.1%}<extra></extra>` }));
  return { data: traces, rows: shown.map((row) => cell("curve.epoch", row).map(() => row)), layout: layout({ xaxis: { title: { text: "epoch of the proxy network" }, dtick: shown.every((row) => cell("curve.epoch", row).length < 12) ? 1 : undefined },
    yaxis: { title: { text: data.objectives[data.curve].title }, tickformat: data.objectives[data.curve].ticks }, showlegend: shown.length < 9, dragmode: "zoom" }) };
}, { follows: true, after: clicked });

chart("importance", () => {
  const traces = studies.flatMap((study) => Object.entries(study.importance).map(([name, found], i) => ({ type: "bar", orientation: "h",
    name: (several() ? escaped(study.name) + ": " : "") + data.objectives[name].title, y: found.map((one) => escaped(one.axis)), customdata: found.map((one) => one.axis), x: found.map((one) => one.share),
    marker: { color: data.palette[(study.place * 3 + i) % data.palette.length], pattern: { shape: ["", "/", ".", "x"][i % 4] } },
    error_x: { type: "data", symmetric: false, array: found.map((one) => one.high - one.share), arrayminus: found.map((one) => one.share - one.low), thickness: 1 },
    hovertemplate: "%{y}: %{x:.1%}<extra></extra>" })));
  if (!traces.length) return "Too few trials yet: importance needs 8 complete trials with different scores.";
  return { data: traces, layout: layout({ barmode: "group", xaxis: { title: { text: "share of the variance (functional ANOVA)" }, tickformat: ".0%" },
    yaxis: { autorange: "reversed" }, dragmode: false }) };
}, { after: (made) => made.box.on("plotly_click", (event) => {
  byId("slice-x").value = event.points[0].customdata;
  redraw("slice");
}) });

chart("slice", (made) => {
  const name = byId("slice-x").value, wanted = byId("slice-y").value;
  if (!name) return noneDone() ?? "The space has no axis.";
  const texts = choices(name), place = new Map(texts.map((text, i) => [text, i]));
  const { traces, members } = points(type2d(), [wanted], "y");
  const at = placed(wanted);
  // A little apart, so that equal points show; the same each time.
  const where = (row) => place.get(cell("param." + name, row) === null ? "-" : words(cell("param." + name, row))) + (((row * 0.618) % 1) - 0.5) * 0.5;
  traces.forEach((trace, i) => { trace.x = members[i].map(where); });
  if (!traces.length) return noneDone();
  made.at = (row) => [where(row), at(row)];
  return { data: traces, rows: members, layout: layout({ xaxis: { title: { text: escaped(name) }, tickvals: texts.map((_, i) => i), ticktext: texts.map(escaped),
    range: [-0.5, texts.length - 0.5] }, yaxis: axis(wanted), showlegend: false, uirevision: name + wanted }) };
}, { overlay: over2d, after: dragged });
