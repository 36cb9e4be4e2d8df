// Ablations: tables with the paper's figures beside them, bars with intervals factor by factor.

function showAblation(ablation) {
  const box = element("section", null, byId("ablations"));
  element("h2", ablation.title, box);
  element("p", "Continue or repeat: ", box, { class: "muted" }).append(element("code", ablation.command));
  const tables = element("div", null, box, { class: "tables" });
  ablation.tables.forEach((section, i) => {
    if (i > 0) element("h3", section.title, tables);
    fillTable(section, tables);
    if (i === 0) for (const line of ablation.notes) element("p", line, tables, { class: "muted small" });
  });
  element("h3", "Factor by factor", box);
  ablation.figures.forEach((figure, i) => {
    const place = element("div", null, element("div", null, box, { class: "card", style: "margin-bottom: .9rem" }),
      { class: "chart", id: `ablation-${data.ablations.indexOf(ablation)}-${i}`, style: `height: ${figure.layout.height}px` });
    chart(place.id, () => ({ data: themed(figure.data), layout: dressed(figure.layout) }));
  });
}

// A table as it is printed: { header, cells, left, grouped }, with the columns of words in left.
function fillTable(section, parent) {
  const table = element("table", null, element("div", null, parent, { class: "scroll" }));
  const head = element("tr", null, element("thead", null, table)), body = element("tbody", null, table);
  const side = (place) => (section.left.includes(place) ? { class: "left" } : {});
  section.header.forEach((name, place) => element("th", name, head, { ...side(place), style: "padding: .22rem .6rem" }));
  section.cells.forEach((cells, at) => {
    const before = at > 0 ? section.cells[at - 1][0] : null;
    const line = element("tr", null, body);
    if (section.grouped && at > 0 && before !== cells[0]) line.className = "begins";
    cells.forEach((text, place) => element("td", section.grouped && place === 0 && before === text ? "" : text, line, side(place)));
  });
}

// A figure that was made for white paper, on the page's own.
function dressed(made) {
  const { template, ...rest } = structuredClone(made);
  const base = layout({ dragmode: "zoom" }), result = { ...base, ...rest, legend: { ...base.legend, ...rest.legend } };
  for (const name of Object.keys(rest).filter((key) => /^[xy]axis/.test(key))) result[name] = { ...base.xaxis, ...rest[name] };
  return result;
}

function themed(traces) {
  return structuredClone(traces).map((trace) => {
    if (trace.error_x) trace.error_x.color = css("--ink");
    return trace;
  });
}
