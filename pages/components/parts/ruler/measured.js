// What a ruler read in the scan of the person whom the viewer above shows.

/** Difference, or where a measure that no column has lies. */
function measuredRow(row, beside) {
  const value = row.value === null ? "not seen" : row.value;
  const unit = row.value === null ? "" : row.unit;
  const place = row.percentile === null
    ? element("td", { class: "percentile" }, row.cohort) : percentileCell(row.percentile);
  return element("tr", { "data-measure": row.name },
    element("th", { scope: "row", title: row.description }, row.title),
    element("td", { class: "value" }, value, element("small", {}, unit)),
    ...(beside ? [element("td", {}, row.sampled), element("td", { class: "change" }, row.difference)] : []),
    place);
}

function measuredTable({ people, beside, cohort }) {
  const shown = Math.min(Number(document.documentElement.dataset.person ?? 0), people.length - 1);
  const { title, rows, problem } = people[shown];
  const head = headOf(title, "Measured", ...(beside ? ["In the table", "Difference"] : []), cohort);
  if (!rows.length) return [element("p", {}, title, element("span", { class: "note" }, ` ${problem}`))];
  return [element("table", {}, head, element("tbody", {}, ...rows.map((row) => measuredRow(row, beside))))];
}

export default function ({ data, parentElement }) {
  const root = parentElement.querySelector(".measured");
  const show = () => root.replaceChildren(...measuredTable(data));
  const observer = new MutationObserver(show);
  observer.observe(document.documentElement, { attributes: true, attributeFilter: ["data-person"] });
  show();
  return () => observer.disconnect();
}
