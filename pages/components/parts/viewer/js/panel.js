// What stands around the planes: the toolbar, the strip of people, the table of the person shown.

function pressButton(label, title, pressed, onclick) {
  return element("button", { type: "button", title, "aria-pressed": String(pressed), onclick }, label);
}

function quietButton(label, title, onclick, pressed) {
  return element("button", { type: "button", class: "quiet", title, "aria-pressed": pressed, onclick }, label);
}

const group = (label, ...buttons) => element("div", { class: "group", role: "group", "aria-label": label }, ...buttons);

/** What is shown: channel, window or scale, and how two are compared. */
function buildUpper(view) {
  const { signals, mode } = view;
  const signal = (s, i) => pressButton(s.name, `${s.name} (${i + 1})`, view.signal === i, () => setSignal(view, i));
  const way = (label, value, key) =>
    pressButton(label, `${MODES[value]} (${key})`, mode === value, () => setMode(view, value));
  const full = isFull(view) ? "Leave full screen" : "Full screen";
  return [
    signals.length > 1 ? group("Channel", ...signals.map(signal)) : "",
    !view.header.compare ? "" : group("Comparison",
      way("Side by side", "side", "S"), way("Wipe", "wipe", "W"), way("Difference", "difference", "D")),
    mode === "difference" ? group("Scale", ...rangeButtons(view)) : group("Window", ...windowButtons(view)),
    element("div", { class: "actions" },
      view.header.compare ? "" : quietButton("Table", "Table (Y)", () => toggle(view, "folded"), String(!view.folded)),
      quietButton("Reset", "Reset crosshair, window and view (R)", () => resetView(view)),
      ...(mayKeep(view) ? [
        quietButton("Save image", "Save a large PNG (G)", () => savePicture(view)),
      ] : []),
      element("button", { type: "button", class: "quiet", title: "Fill the screen (F)", "aria-label": full, onclick: () => toggleFullScreen(view) }, "□"),
      quietButton("Keys", "What the keys do (H)", () => toggleHelp(view))),
  ];
}

function windowButtons(view) {
  const { windows, value, digits, unit } = signalOf(view);
  return Object.entries(windows).map(([label, edges]) => {
    const title = `Window ${edges.map((code) => value(code).toFixed(digits)).join(" to ")}${unit} (V)`;
    return pressButton(label, title, sameWindow(edges, view.window), () => update(view, { window: edges.slice() }));
  });
}

function rangeButtons(view) {
  const signal = signalOf(view);
  const chosen = (range) => Math.abs(range - view.range) < 1e-6;
  const title = "The change at which the scale ends (V)";
  return signal.ranges.map((range) =>
    pressButton(rangeInWords(signal, range), title, chosen(range), () => update(view, { range })));
}

/** How it is shown: tool, convention, what is drawn, and the 3D view. */
function buildLower(view) {
  const tool = (label) => pressButton(label, HINTS[label], view.tool === label, () => update(view, { tool: label }));
  const convention = (label, value, title) =>
    pressButton(label, title, view.radiological === value, () => update(view, { radiological: value }));
  const show = (label, name, title) => pressButton(label, title, view[name], () => toggle(view, name));
  const chosen = (name) => element("option", { value: name, selected: name === view.preset ? "" : undefined }, name);
  const onchange = (event) => update(view, { preset: event.target.value });
  const slices = view.header.phases[0] > 1 ? "Play slices" : "Play";
  return [
    group("Tool", ...Object.keys(HINTS).map(tool)),
    group("Display convention",
      convention("Radiological", true, "Seen from the feet and the front: the patient's right is on the left (N)"),
      convention("Neurological", false, "The patient's right is on the right (N)")),
    group("Show",
      show("Crosshair", "crosshair", "Lines through the selected point (X)"),
      show("Cutaway", "cutaway", "Open the 3D view at the crosshair (U)"),
      show("Smooth", "smooth", "Interpolate between voxels (I)"),
      view.labels ? show("Labels", "overlay", "Colours of the structures (L)") : ""),
    element("select", { "aria-label": "3D view", title: "What the 3D view shows (T)", onchange },
      ...Object.keys(view.surfaces).map(chosen)),
    quietButton(view.cine ? "Stop" : slices, "Play through the slices (P)",
      () => toggleCine(view), String(Boolean(view.cine))),
    !mayKeep(view) ? "" : element("select", { "aria-label": "Views in a picture", title: "Which views", onchange: (event) => (view.saved = event.target.value) },
      ...[ALL, ...view.header.planes, "3D"].map((name) => element("option", { value: name, selected: name === view.saved ? "" : undefined }, `Picture: ${name}`))),
    !mayKeep(view) ? "" : element("select", { "aria-label": "Shape of a picture", title: "1920 x 1080", onchange: (event) => (view.shape = event.target.value) },
      ...[SLIDE, "As shown"].map((name) => element("option", { value: name, selected: name === view.shape ? "" : undefined }, name))),
    ...added("lower", view),
  ];
}

function slider(label, value, oninput) {
  const percent = Math.round(value * 100);
  const input = element("input", { type: "range", min: 0, max: 100, value: percent, "aria-label": label, oninput });
  return element("label", {}, label, input);
}

/** The slider that uncovers B; it is not built anew while it is dragged. */
function buildWiper(view) {
  if (view.mode !== "wipe") return [];
  return [slider("Wipe from A to B", view.wipe, (event) => setWipe(view, event.target.value / 100))];
}

const BLACK = "Black: no signal to compare";

/** The scale of a difference. */
function buildScale(view) {
  const label = `Scale from less in B, blue, to more in B, orange: ${windowInWords(view)}`;
  const canvas = element("canvas", { role: "img", "aria-label": label });
  requestAnimationFrame(() => {
    const context = prepare(canvas);
    context.clearRect(0, 0, canvas.width, canvas.height);
    drawScale(context, view, 0, 4 * dots(), canvas.width);
  });
  return [element("div", { class: "scale" }, canvas), element("span", { class: "hint" }, BLACK)];
}

/** The names of the labels, each of which can be hidden, and the scale of a difference. */
function buildLegend(view) {
  const scale = view.mode === "difference" ? buildScale(view) : [];
  // in a difference the planes show no labels, the surfaces do
  const labelled = scale.length ? view.labels && view.surfaces[view.preset]?.labelled : coloursShown(view);
  if (!labelled) return scale;
  const chip = ([value, name, colour]) => {
    const dot = element("i");
    dot.style.background = colour;
    const onclick = () => {
      if (!view.hidden.delete(value)) view.hidden.add(value);
      update(view, {});
    };
    const pressed = String(!view.hidden.has(value));
    const title = "Show or hide this structure";
    return element("button", { type: "button", title, "aria-pressed": pressed, onclick }, dot, name);
  };
  const dim = (event) => {
    view.opacity = event.target.value / 100;
    requestDraw(view);
  };
  const opacity = view.overlay && !scale.length ? [slider("Opacity", view.opacity, dim)] : [];
  return [...scale, ...opacity, ...view.header.legend.map(chip)];
}

function buildHelp(view) {
  const lines = SHORTCUTS.filter(({ when }) => when(view));
  const keys = (text) => text.split(" ").map((key) => element("kbd", {}, key));
  return [
    element("h2", {}, "Keys"),
    element("dl", {}, ...lines.flatMap((line) =>
      [element("dt", {}, ...keys(line.keys)), element("dd", {}, line.words)])),
    quietButton("Close", "Escape", () => toggleHelp(view)),
  ];
}

/** A person's coronal middle slice on a button; pressing it shows that person, in a comparison as B. */
function buildStrip(view) {
  const { compare, people, shape } = view.header;
  const first = compare ? 1 : 0;
  if (people.length - first < 2) return [];
  if (view.header.sweep) return buildSweep(view);
  const plane = PLANES[view.cycles[first].length > 1 ? 0 : 1];
  const name = compare ? "other" : "shown";
  const buttons = people.slice(first).map((person, position) => {
    const i = position + first;
    const canvas = element("canvas", { "aria-hidden": "true" });
    paintSlice(canvas, view, plane, shape[plane.through] >> 1, greyPainter(view, i));
    const onclick = () => update(view, { [name]: i });
    return element("button", { type: "button", "aria-pressed": String(i === view[name]), onclick },
      canvas, element("span", {}, element("b", {}, person.title), person.subtitle));
  });
  return compare ? [element("span", {}, "B is"), ...buttons] : buttons;
}

const ORIGINS = {
  given: "You set this value; the model may not change it",
  sampled: "The model chose this value together with the scan",
  derived: "Computed from the other columns",
  read: "Read off the scan by the model",
  set: "What is asked to be otherwise",
  held: "Stays as it was",
  follows: "Free: it moves with what was set, as in the cohort",
  computed: "Computed from the other columns",
};

const draftMark = ({ header }) =>
  (header.draft ? element("span", { class: "draft", title: "Few sampling steps" }, "Draft") : "");
const originMark = (origin) => element("span", { class: `origin ${origin}`, title: ORIGINS[origin] }, origin);

function buildTable(view) {
  const person = view.header.people[view.shown];
  const rows = (person.rows ?? []).map((row) =>
    element("tr", { "data-column": row.name, "data-origin": row.origin },
      element("th", { scope: "row", title: row.description }, row.label),
      element("td", { class: "value" }, row.value, element("small", {}, row.unit)),
      element("td", {}, originMark(row.origin)),
      row.range ? element("td", { class: "percentile" }, row.range) : percentileCell(row.percentile)));
  const last = person.rows?.[0]?.range ? "Possible" : "Percentile";
  return [
    element("h2", {}, person.title ?? "", draftMark(view), element("small", {}, person.subtitle ?? "")),
    element("table", {}, headOf("", "Value", "", last), element("tbody", {}, ...rows)),
    element("p", { class: "note" }, view.header.note ?? ""),
  ];
}

/** B less A of two values in words; nothing where one is no number. */
function changeInWords(a, b) {
  const [from, to] = [a, b].map((text) => (/^-?[\d.]+$/.test(text) ? Number(text) : NaN));
  if (Number.isNaN(to - from)) return a === b ? "" : "changed";
  return signed(Math.abs(to - from).toFixed(1).replace(/\.0$/, ""), to - from);
}

/** The tables of A and B side by side, with what B has more. */
function buildComparison(view) {
  const { people, note } = view.header;
  const [a, b] = [people[0], people[view.other]];
  const rowsOfB = new Map((b.rows ?? []).map((row) => [row.name, row]));
  const cell = (row, letter) =>
    element("td", { class: "value", "data-person": letter }, row?.value ?? "", element("small", {}, row?.unit ?? ""));
  const rows = (a.rows ?? []).map((row) => {
    const other = rowsOfB.get(row.name);
    return element("tr", { "data-column": row.name },
      element("th", { scope: "row", title: row.description }, row.label),
      cell(row, "A"), cell(other, "B"),
      element("td", { class: "change" }, other ? changeInWords(row.value, other.value) : ""),
      element("td", {}, other ? originMark(other.origin) : ""));
  });
  const title = (letter, { title: name = "", subtitle = "" }) =>
    element("div", {}, element("b", {}, letter), ` ${name}`, element("small", {}, subtitle));
  return [
    element("h2", { class: "pair" }, title("A", a), title("B", b), draftMark(view)),
    element("table", {}, headOf("", "A", "B", "Change", "In B"), element("tbody", {}, ...rows)),
    element("p", { class: "note" }, note ?? ""),
  ];
}
