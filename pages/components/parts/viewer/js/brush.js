// The brush: regions painted into the labels of a slice, and sent as runs of voxels when the reader presses Apply.

const RADIUS = { least: 1, most: 40, first: 10 };
const NOT_HERE = "Paint on B, the edited person, side by side";
HINTS.Brush = "Drag to paint, not into the background · wheel or arrow keys scroll · B paints at the crosshair · Z takes it back";

const WAITS = "A draft has no labels: they come with the full picture";

const mayPaint = (view) => view.brush && view.header.brush?.length && view.labels;
/** Of a draft the labels are still to come: what needs them stands in its place and cannot be used. */
const awaitsLabels = (view) => view.header.draft && view.header.brush?.length && !view.labels;
SHORTCUTS.push(
  { keys: "B", words: "paint a mask at the crosshair", when: mayPaint, act: paintHere },
  { keys: "Z", words: "take the last stroke of the brush back", when: mayPaint, act: undoStroke },
);

function showWithBrush(component) {
  show(component);
  const view = component.parentElement.querySelector(".viewer").somatwin;
  view.brush ??= createBrush(view);
  view.brush.send = (painted) => component.setTriggerValue("paint", painted);
}

function createBrush(view) {
  const row = element("div", { class: "toolbar brush", role: "toolbar", "aria-label": "Brush", hidden: "" });
  const ring = element("div", { class: "ring", hidden: "" });
  view.slots.lower.after(row);
  listenToBrush(view);
  const look = () => {
    if (!view.header) return;
    if (view.brush.scene !== view.fingerprint) newScene(view);
    const waits = awaitsLabels(view);
    if (waits) holdPlaces(view);
    else if (view.labels) view.brush.chosen = { legend: view.legend, preset: view.preset, hidden: view.hidden };
    row.hidden = view.tool !== "Brush" || !(mayPaint(view) || waits);
    if (view.tool === "Brush" && row.hidden) update(view, { tool: "Point" });
  };
  const attributeFilter = ["data-fingerprint", "data-mode"];
  new MutationObserver(look).observe(view.root, { attributes: true, attributeFilter });
  return { row, ring, strokes: [], region: null, radius: RADIUS.first };
}

/** What was chosen of the labels comes back with them, after a draft. */
ADDED.scene.push((view) => {
  const { legend, ...chosen } = view.brush?.chosen ?? {};
  if (view.labels && legend === view.legend) Object.assign(view, chosen);
});

/** Of a draft: the buttons that need labels, where they will stand. */
function holdPlaces({ slots, brush }) {
  const [show] = [...slots.lower.children].filter((node) => node.ariaLabel === "Show");
  const held = element("button", { type: "button", class: "held", disabled: "", title: WAITS }, "Labels");
  if (!show.querySelector(".held")) show.append(held);
  for (const control of brush.row.querySelectorAll("button, input, select")) control.disabled = true;
  if (brush.said) brush.said.textContent = WAITS;
}

/** Nothing is painted in a scene that has just come. */
function newScene(view) {
  const { brush, header } = view;
  Object.assign(brush, { scene: view.fingerprint, strokes: [] });
  if (!mayPaint(view) && !awaitsLabels(view)) return;
  if (!header.brush.some(([index]) => index === brush.region)) brush.region = header.brush[0][0];
  const option = ([index, title]) =>
    element("option", { value: index, selected: index === brush.region ? "" : undefined }, title);
  const choose = (event) => (brush.region = Number(event.target.value));
  const size = element("output", {}, `${brush.radius} mm`);
  const resize = (event) => {
    brush.radius = Number(event.target.value);
    size.textContent = `${brush.radius} mm`;
  };
  const { least: min, most: max } = RADIUS;
  brush.undo = element("button", { type: "button", title: "Take the last stroke back (Z)", onclick: () => undoStroke(view) }, "Undo");
  brush.apply = element("button",
    { type: "button", class: "apply", title: "Draw the scan for the painted mask", onclick: () => applyStrokes(view) }, "Apply");
  brush.said = element("span", { class: "said" });
  brush.row.replaceChildren(
    element("select", { "aria-label": "Region to paint", onchange: choose }, ...header.brush.map(option)),
    element("label", {}, "Radius", element("input", { type: "range", min, max, value: brush.radius, "aria-label": "Radius, mm", oninput: resize }), size),
    brush.undo, brush.apply, brush.said);
  tellStrokes(view);
}

function tellStrokes(view) {
  const { strokes, undo, apply, said } = view.brush;
  const voxels = new Set(strokes.flatMap(({ before }) => [...before.keys()])).size;
  const millilitres = (voxels * view.header.spacing.reduce((product, mm) => product * mm)) / 1000;
  undo.disabled = apply.disabled = !strokes.length;
  said.textContent = strokes.length ? `${millilitres.toFixed(1)} mL painted, not drawn for yet` : "";
}

/** Whose labels are painted: the person shown, of two compared the edited one. */
const whosePaint = (view) => (view.header.compare ? view.other : view.shown);
const paintable = (view, pane) =>
  pane.plane && view.mode !== "difference" && (view.mode !== "side" || pane.second);

function beginStroke(view) {
  const [index, , label] = view.header.brush.find(([region]) => region === view.brush.region);
  view.hidden.delete(label);
  if (!view.overlay) update(view, { overlay: true });
  return { index, label, before: new Map(), person: whosePaint(view), last: null };
}

/** A disc in the slice around a point; nothing that is background. */
function paintDisc(view, stroke, plane, point) {
  const { shape, spacing } = view.header;
  const [a, u] = [plane.across, plane.up];
  const { radius } = view.brush;
  const labels = view.labels[stroke.person];
  const centre = voxelOf(view.header, point);
  const reach = (axis) => {
    const far = Math.ceil(radius / spacing[axis]);
    return [Math.max(0, centre[axis] - far), Math.min(shape[axis] - 1, centre[axis] + far)];
  };
  const [[left, right], [low, high]] = [reach(a), reach(u)];
  for (let i = left; i <= right; i++) {
    for (let j = low; j <= high; j++) {
      const away = Math.hypot((i + 0.5 - point[a]) * spacing[a], (j + 0.5 - point[u]) * spacing[u]);
      if (away > radius && (i !== centre[a] || j !== centre[u])) continue;
      const voxel = centre.slice();
      [voxel[a], voxel[u]] = [i, j];
      const at = flatIndex(view.header, voxel);
      if (!labels[at]) continue;
      if (!stroke.before.has(at)) stroke.before.set(at, labels[at]);
      labels[at] = stroke.label;
    }
  }
}

/** Discs from where the stroke was to a point. */
function paintTo(view, stroke, plane, point) {
  const from = stroke.last ?? point;
  const steps = Math.max(1, Math.ceil(distance(view.header, from, point) / Math.max(1, view.brush.radius / 2)));
  for (let k = 1; k <= steps; k++) {
    paintDisc(view, stroke, plane, from.map((p, axis) => p + ((point[axis] - p) * k) / steps));
  }
  stroke.last = point;
  requestDraw(view);
}

function endStroke(view, stroke) {
  if (stroke.before.size) view.brush.strokes.push(stroke);
  redrawLabels(view);
}

function redrawLabels(view) {
  view.renderers = {};
  for (const pane of view.panes) pane.drawn = null;
  tellStrokes(view);
  requestDraw(view);
}

function undoStroke(view) {
  const stroke = view.brush.strokes.pop();
  if (!stroke) return;
  for (const [at, label] of stroke.before) view.labels[stroke.person][at] = label;
  redrawLabels(view);
  say(view, "Stroke taken back");
}

/** With the keyboard: a disc in the plane used last, around the crosshair. */
function paintHere(view) {
  const pane = view.panes.find((one) => one.place === view.active && paintable(view, one));
  if (!pane) {
    say(view, NOT_HERE);
    return;
  }
  const stroke = beginStroke(view);
  paintTo(view, stroke, pane.plane, view.cursor.map((index) => index + 0.5));
  endStroke(view, stroke);
  say(view, "Painted");
}

/** Voxels as starts and lengths of runs. */
function runsOf(voxels) {
  const runs = [];
  for (const at of voxels.sort((one, other) => one - other)) {
    if (runs.length && runs.at(-2) + runs.at(-1) === at) runs[runs.length - 1] += 1;
    else runs.push(at, 1);
  }
  return runs;
}

function applyStrokes(view) {
  const person = whosePaint(view);
  const strokes = view.brush.strokes.filter((stroke) => stroke.person === person)
    .map(({ index, before }) => [index, runsOf([...before.keys()])]);
  if (!strokes.length) return;
  view.brush.send({ scene: view.fingerprint, person, strokes });
  view.brush.said.textContent = "Sent: the scan is drawn for it";
  say(view, "Sent: the scan is drawn for the painted mask");
}

/** The pointer paints where the brush is chosen, and nothing else hears of it. */
function listenToBrush(view) {
  const { planes } = view.slots;
  let [stroke, at] = [null, null];
  const paneOf = (event) => view.panes.find(({ canvas }) => canvas === event.target);
  const listen = (kind, heard) => planes.addEventListener(kind, heard, true);
  listen("pointerdown", (event) => {
    const pane = paneOf(event);
    if (view.tool !== "Brush" || event.button || !pane?.plane || !mayPaint(view)) return;
    event.stopPropagation();
    pane.canvas.focus({ preventScroll: true });
    if (stroke) return;
    if (!paintable(view, pane)) {
      view.brush.said.textContent = NOT_HERE;
      return;
    }
    pane.canvas.setPointerCapture(event.pointerId);
    [stroke, at] = [beginStroke(view), pane];
    paintTo(view, stroke, pane.plane, pointUnder(view, pane, event));
  });
  listen("pointermove", (event) => {
    moveRing(view, paneOf(event), event);
    if (!stroke) return;
    event.stopPropagation();
    paintTo(view, stroke, at.plane, pointUnder(view, at, event));
  });
  for (const kind of ["pointerup", "pointercancel"]) {
    listen(kind, (event) => {
      if (!stroke) return;
      event.stopPropagation();
      endStroke(view, stroke);
      stroke = null;
    });
  }
  planes.addEventListener("pointerleave", () => (view.brush.ring.hidden = true));
}

/** How far the brush reaches, around the pointer. */
function moveRing(view, pane, event) {
  const { ring, radius } = view.brush;
  ring.hidden = view.tool !== "Brush" || !pane || !paintable(view, pane) || !pane.fit;
  if (ring.hidden) return;
  const box = pane.node.getBoundingClientRect();
  const { shape, spacing } = view.header;
  const size = (2 * radius * pane.fit.width) / dots() / (shape[pane.plane.across] * spacing[pane.plane.across]);
  Object.assign(ring.style, { left: `${event.clientX - box.left}px`, top: `${event.clientY - box.top}px`, width: `${size}px`, height: `${size}px` });
  if (ring.parentNode !== pane.node) pane.node.append(ring);
}
