// Elements, and the parts of a table of a person.

/** An element with attributes and children; strings become text, never markup. */
function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node[name] = value;
    else if (value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

const headOf = (...words) =>
  element("thead", {}, element("tr", {}, ...words.map((text) => element("th", { scope: "col" }, text))));

/** Where a value lies in the training cohort; empty where that is not known. */
function percentileCell(percentile) {
  if (percentile === null) return element("td", { class: "percentile" });
  const track = element("span", { class: "track", "aria-hidden": "true" }, element("i"));
  track.firstChild.style.left = `${Math.min(99, Math.max(1, percentile))}%`;
  return element("td", { class: "percentile", title: "Share of the training cohort below this value" },
    track, `${Math.round(percentile)}`);
}
