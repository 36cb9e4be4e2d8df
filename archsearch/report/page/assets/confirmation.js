// Confirmations: their tables and findings, and an arrow in the front's picture from what a search saw of a candidate to
// what its longer trainings found.

function showConfirmations() {
  const box = byId("confirmations"), known = studies.filter((study) => study.confirmation);
  box.hidden = byId("confirmed-choice").hidden = !known.length;
  const told = JSON.stringify(known.map((study) => study.confirmation));
  if (box.dataset.told === told) return;
  box.dataset.told = told;
  box.replaceChildren();
  for (const { confirmation } of known) {
    const card = element("div", null, box, { class: "card confirmation" });
    element("h2", confirmation.title, card);
    fillTable(confirmation, card);
    for (const line of confirmation.notes) element("p", line, card, { class: "muted small" });
  }
}

// Candidates with a confirmed score on one of the axes: where the search saw them, and where they are.
function confirmedPlaces(study, x, y) {
  const { score: judged, members } = study.confirmation;
  if (judged !== x && judged !== y) return [];
  const own = new Map(study.rows.map((row) => [number(row), row]));
  return members.map((one) => {
    const row = own.get(one.number);
    const before = (name) => row === undefined ? one.scores[name] ?? null : score(name, row);
    const after = (name) => name === judged ? one.value : before(name);
    return { one, from: [x, y].map(before), to: [x, y].map(after) };
  }).filter((place) => !place.to.includes(null));
}

function confirmedIn(x, y) {
  const found = { traces: [], arrows: [] };
  if (!byId("confirmed").checked) return found;
  for (const study of studies.filter((one) => one.confirmation)) {
    const places = confirmedPlaces(study, x, y), look = data.confirmed, judged = study.confirmation.score;
    if (!places.length) continue;
    const colour = several() ? data.palette[study.place % data.palette.length] : look.colour;
    const bars = { type: "data", symmetric: false, thickness: 1, width: 2, array: places.map(({ one }) => (one.high ?? one.value) - one.value),
      arrayminus: places.map(({ one }) => one.value - (one.low ?? one.value)) };
    found.traces.push({ type: "scatter", mode: "markers", name: (several() ? escaped(study.name) + ": " : "") + look.label,
      x: places.map(({ to }) => to[0]), y: places.map(({ to }) => to[1]), [judged === x ? "error_x" : "error_y"]: byId("errors").checked ? bars : undefined,
      text: places.map(({ one }) => `<b>${escaped(one.name)}</b>, confirmed<br>${data.objectives[judged].title}: ${escaped(one.told)}`),
      hovertemplate: `%{text}<extra>${look.label}</extra>`, marker: { color: colour, symbol: look.symbol, size: look.size } });
    for (const { from, to } of places) if (!from.includes(null)) found.arrows.push({ x: to[0], y: to[1], ax: from[0], ay: from[1], xref: "x", yref: "y",
      axref: "x", ayref: "y", text: "", showarrow: true, arrowhead: 2, arrowsize: 1.1, arrowwidth: 1.4, arrowcolor: colour, standoff: 6, startstandoff: 6 });
  }
  return found;
}
