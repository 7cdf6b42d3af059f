// What was measured in the scan of the person whom the viewer above shows.

/** The value with its error, how it differs from what was drawn, its place, its limit, and how far to trust it. */
function measuredRow(row, { beside, limited, trusted }) {
  const value = row.value === null ? "not seen" : row.value;
  const unit = row.value === null ? "" : `${row.error} ${row.unit}`;
  return element("tr", { "data-measure": row.name },
    element("th", { scope: "row", title: row.description }, row.title),
    element("td", { class: "value" }, value, element("small", {}, unit)),
    ...(beside ? [element("td", {}, row.sampled), element("td", { class: "change", title: row.note }, ...differing(row))] : []),
    placed(row),
    ...(limited ? [element("td", { class: "limit", title: row.source }, row.limit)] : []),
    ...(trusted ? [element("td", { class: "trust", title: row.why }, row.trust)] : []));
}

const differing = (row) => (row.note && row.difference ? [row.difference, element("sup", {}, "*")] : [row.difference]);

function placed(row) {
  if (row.percentile === null) return element("td", { class: "percentile" }, row.cohort);
  const cell = percentileCell(row.percentile);
  cell.title = `Percent ${row.among} with less`;
  return cell;
}

function measuredTable({ people, beside, cohort }) {
  const shown = Math.min(Number(document.documentElement.dataset.person ?? 0), people.length - 1);
  const { title, rows, problem, note } = people[shown];
  // a column that would be empty is left out
  const [limited, trusted] = ["limit", "trust"].map((name) => rows.some((row) => row[name]));
  const columns = ["Measured", ...(beside ? ["Drawn", "Difference"] : []), cohort, ...(limited ? ["Reference limit"] : []), ...(trusted ? ["Trust"] : [])];
  const head = headOf(title, ...columns);
  if (!rows.length) return [element("p", {}, title, element("span", { class: "note" }, ` ${problem}`))];
  const table = element("table", {}, head, element("tbody", {}, ...rows.map((row) => measuredRow(row, { beside, limited, trusted }))));
  // what a column is called stands in its cells where a phone shows them below each other
  for (const row of table.tBodies[0].rows) [...row.querySelectorAll("td")].forEach((cell, i) => (cell.dataset.head = columns[i]));
  const offset = rows.find((row) => row.name === "vat" && row.source);
  const below = [...(note ? [`* ${note}`] : []), ...(offset ? [`${offset.title}: ${offset.source}`] : [])];
  return [table, ...below.map((text) => element("p", { class: "note" }, text))];
}

export default function ({ data, parentElement }) {
  const root = parentElement.querySelector(".measured");
  const show = () => root.replaceChildren(...measuredTable(data));
  const observer = new MutationObserver(show);
  observer.observe(document.documentElement, { attributes: true, attributeFilter: ["data-person"] });
  show();
  return () => observer.disconnect();
}
