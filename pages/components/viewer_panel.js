// What stands around the planes: the toolbar, the strip of people, the table of the person shown.

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

/** Windows a reader reaches for, in grey values of 0 to 255. */
const WINDOWS = { Full: [0, 255], Brain: [55, 225], Soft: [0, 150] };

function pressButton(label, title, pressed, onclick) {
  return element("button", { type: "button", title, "aria-pressed": String(pressed), onclick }, label);
}

function buildToolbar(view) {
  const convention = (label, value, title) =>
    pressButton(label, title, view.radiological === value, () => update(view, { radiological: value }));
  const preset = (label) => {
    const same = WINDOWS[label].every((edge, i) => Math.abs(edge - view.window[i]) < 0.5);
    const title = `Window ${WINDOWS[label].map((v) => (v / 255).toFixed(2)).join(" to ")}`;
    return pressButton(label, title, same, () => update(view, { window: WINDOWS[label].slice() }));
  };
  const toggle = (label, name, title) => pressButton(label, title, view[name], () => update(view, { [name]: !view[name] }));
  return [
    element("div", { class: "group", role: "group", "aria-label": "Display convention" },
      convention("Radiological", true, "Seen from the feet and the front: the patient's right is on the left"),
      convention("Neurological", false, "The patient's right is on the right")),
    element("div", { class: "group", role: "group", "aria-label": "Window" }, ...Object.keys(WINDOWS).map(preset)),
    element("div", { class: "group", role: "group", "aria-label": "Show" },
      toggle("Crosshair", "crosshair", "Lines through the selected point"),
      toggle("Cutaway", "cutaway", "Open the 3D view at the crosshair"),
      toggle("Smooth", "smooth", "Interpolate between voxels")),
    element("span", { class: "spacer" }),
    element("button", { type: "button", class: "quiet", title: "Centre the crosshair, reset window and view",
      onclick: () => resetView(view) }, "Reset"),
    element("button", { type: "button", class: "quiet", title: "Save what is shown as a PNG image",
      onclick: () => savePicture(view) }, "Save image"),
  ];
}

/** A person's coronal middle slice on a button; pressing it shows that person. */
function buildStrip(view) {
  if (view.volumes.length < 2) return [];
  const plane = PLANES[1];
  const middle = view.header.shape[plane.through] >> 1;
  return view.header.people.map((person, i) => {
    const canvas = element("canvas", { "aria-hidden": "true" });
    paintSlice(canvas, view, plane, view.volumes[i], middle, greyTable(view.window));
    const onclick = () => update(view, { shown: i });
    return element("button", { type: "button", "aria-pressed": String(i === view.shown), onclick },
      canvas, element("span", {}, element("b", {}, person.title), person.subtitle));
  });
}

const ORIGINS = {
  given: "You set this value; the model may not change it",
  sampled: "The model chose this value together with the scan",
  derived: "Computed from the other columns",
};

function percentileCell(percentile) {
  if (percentile === null) return element("td", { class: "percentile" });
  const track = element("span", { class: "track", "aria-hidden": "true" }, element("i"));
  track.firstChild.style.left = `${clamp(percentile, 1, 99)}%`;
  return element("td", { class: "percentile", title: "Share of the training cohort below this value" },
    track, `${Math.round(percentile)}`);
}

function buildTable(view) {
  const person = view.header.people[view.shown];
  const draft = view.header.draft ? element("span", { class: "draft", title: "Few sampling steps" }, "Draft") : "";
  const head = element("tr", {}, ...["", "Value", "", "Percentile"].map((text) => element("th", { scope: "col" }, text)));
  const rows = person.rows.map((row) =>
    element("tr", { "data-column": row.name, "data-origin": row.origin },
      element("th", { scope: "row", title: row.description }, row.label),
      element("td", { class: "value" }, row.value, element("small", {}, row.unit)),
      element("td", {}, element("span", { class: `origin ${row.origin}`, title: ORIGINS[row.origin] }, row.origin)),
      percentileCell(row.percentile)));
  return [
    element("h3", {}, person.title, draft, element("small", {}, person.subtitle)),
    element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)),
    element("p", { class: "note" }, view.header.note),
  ];
}
