// Linked axial, coronal and sagittal views with a cutaway, drawn in Canvas2D; one payload, then no server.
// The state of a viewer hangs on its root element as `root.somatwin`.

const SURFACE = 0.13; // grey, 0 to 1, at which the 3D view sees skin
const AMBER = "#f2c14e";
const CROSS = "rgba(94, 214, 200, 0.85)";

export default function ({ data, parentElement }) {
  const root = parentElement.querySelector(".viewer");
  const view = (root.somatwin ??= createView(root));
  const print = fingerprint(data);
  if (view.fingerprint === print || view.loading === print) return undefined;
  view.loading = print;
  unpack(data).then((scene) => {
    if (view.loading === print) showScene(view, scene, print);
  });
  return undefined;
}

function createView(root) {
  const slot = (name) => root.querySelector(`.${name}`);
  const view = {
    root, slots: { toolbar: slot("toolbar"), strip: slot("strip"), panel: slot("panel"), readout: slot("readout") },
    window: WINDOWS.Full.slice(), radiological: true, crosshair: true, cutaway: true, smooth: true,
    azimuth: 0.6, elevation: 0.3, shown: 0, draws: 0, enlarged: null,
  };
  view.panes = [...root.querySelectorAll(".pane")].map((node, i) => createPane(view, node, PLANES[i]));
  new ResizeObserver(() => requestDraw(view)).observe(slot("planes"));
  return view;
}

function createPane(view, node, plane) {
  const canvas = node.querySelector("canvas");
  const pane = { node, canvas, plane, buffer: document.createElement("canvas"), caption: node.querySelector("figcaption") };
  if (plane) listenToPlane(view, pane);
  else listenToSurface(view, pane);
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("dblclick", () => update(view, { enlarged: view.enlarged === node ? null : node }));
  return pane;
}

function showScene(view, scene, print) {
  const grown = String(view.header?.shape) !== String(scene.header.shape);
  Object.assign(view, scene, { fingerprint: print, raycasters: [] });
  view.shown = Math.min(view.shown, scene.volumes.length - 1);
  if (grown) view.cursor = startCursor(scene.header);
  view.root.dataset.fingerprint = print;
  update(view, {});
}

function resetView(view) {
  const cursor = startCursor(view.header);
  update(view, { cursor, window: WINDOWS.Full.slice(), azimuth: 0.6, elevation: 0.3, enlarged: null });
}

/** Change the view, bring the controls around it up to date, and draw. */
function update(view, changes) {
  Object.assign(view, changes);
  const focused = view.root.getRootNode().activeElement;
  const again = focused?.closest(".toolbar, .strip") && [focused.parentElement.className, focused.textContent];
  view.slots.toolbar.replaceChildren(...buildToolbar(view));
  view.slots.strip.replaceChildren(...buildStrip(view));
  view.slots.panel.replaceChildren(...buildTable(view));
  if (again) refocus(view, ...again);
  for (const pane of view.panes) pane.node.classList.toggle("hidden", Boolean(view.enlarged) && view.enlarged !== pane.node);
  view.root.classList.toggle("enlarged", Boolean(view.enlarged));
  requestDraw(view);
}

function refocus(view, parentClass, text) {
  const buttons = [...view.root.querySelectorAll("button")];
  buttons.find((b) => b.parentElement.className === parentClass && b.textContent === text)?.focus();
}

/** Draw once in the next frame; the 3D view turns coarse while something moves and sharpens at rest. */
function requestDraw(view) {
  if (!view.header) return;
  view.frame ??= requestAnimationFrame(() => {
    view.frame = null;
    drawAll(view, true);
    clearTimeout(view.settle);
    view.settle = setTimeout(() => drawSurface(view, view.panes[3], false), 160);
  });
}

function drawAll(view, coarse) {
  for (const pane of view.panes.slice(0, 3)) drawPlane(view, pane);
  drawSurface(view, view.panes[3], coarse);
  const [x, y, z] = toMillimetres(view.header.affine, view.cursor);
  const side = (value, [low, high]) => `${value < 0 ? low : high} ${Math.abs(value).toFixed(0)}`;
  const place = [x, y, z].map((value, axis) => side(value, ENDS[axis])).join("  ");
  const [low, high] = view.window.map((value) => (value / 255).toFixed(2));
  const value = (voxelAt(view, view.cursor) / 255).toFixed(2);
  view.slots.readout.textContent = `${place} mm  ·  value ${value}  ·  window ${low} to ${high}`;
  view.draws += 1;
}

/** Give a canvas one device pixel a dot; returns its context, wiped. */
function prepare(canvas) {
  const box = canvas.getBoundingClientRect();
  const scale = window.devicePixelRatio || 1;
  Object.assign(canvas, { width: Math.max(1, Math.round(box.width * scale)), height: Math.max(1, Math.round(box.height * scale)) });
  const context = canvas.getContext("2d");
  context.fillStyle = "#000";
  context.fillRect(0, 0, canvas.width, canvas.height);
  return context;
}

function drawPlane(view, pane) {
  if (pane.node.classList.contains("hidden")) return;
  const { plane, canvas } = pane;
  const context = prepare(canvas);
  const index = view.cursor[plane.through];
  paintSlice(pane.buffer, view, plane, view.volumes[view.shown], index, greyTable(view.window));
  const fit = (pane.fit = fitPlane(canvas, view, plane));
  context.imageSmoothingEnabled = view.smooth;
  context.imageSmoothingQuality = "high";
  context.drawImage(pane.buffer, fit.left, fit.top, fit.width, fit.height);
  if (view.crosshair) drawCrosshair(context, view, plane, fit);
  drawLetters(context, edgeLetters(view, plane));
  pane.letters = edgeLetters(view, plane);
  const count = view.header.shape[plane.through];
  pane.caption.textContent = `${plane.name}  ${index + 1} / ${count}`;
  canvas.setAttribute("aria-label", `${plane.name} slice ${index + 1} of ${count}. Arrow keys scroll.`);
}

/** Two lines through the cursor that leave the voxel itself visible. */
function drawCrosshair(context, view, plane, fit) {
  const { shape } = view.header;
  const across = (view.cursor[plane.across] + 0.5) / shape[plane.across];
  const x = Math.round(fit.left + fit.width * (mirrored(view) ? 1 - across : across)) + 0.5;
  const y = Math.round(fit.top + fit.height * (1 - (view.cursor[plane.up] + 0.5) / shape[plane.up])) + 0.5;
  const scale = window.devicePixelRatio || 1;
  const [gap, margin] = [12 * scale, 28 * scale]; // margin keeps the lines off the letters
  const { width, height } = context.canvas;
  const [left, right] = [Math.max(fit.left, margin), Math.min(fit.left + fit.width, width - margin)];
  const [top, bottom] = [Math.max(fit.top, margin), Math.min(fit.top + fit.height, height - margin)];
  context.strokeStyle = CROSS;
  context.lineWidth = scale;
  context.beginPath();
  for (const [x0, y0, x1, y1] of [
    [left, y, x - gap, y], [x + gap, y, right, y], [x, top, x, y - gap], [x, y + gap, x, bottom],
  ]) {
    if (x1 >= x0 && y1 >= y0) { context.moveTo(x0, y0); context.lineTo(x1, y1); }
  }
  context.stroke();
}

function drawLetters(context, { left, right, top, bottom }) {
  const { width, height } = context.canvas;
  const scale = window.devicePixelRatio || 1;
  const inset = 15 * scale;
  context.font = `600 ${13 * scale}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.lineWidth = 3 * scale;
  context.strokeStyle = "rgba(0, 0, 0, 0.75)";
  context.fillStyle = AMBER;
  for (const [letter, x, y] of [
    [left, inset, height / 2], [right, width - inset, height / 2], [top, width / 2, inset], [bottom, width / 2, height - inset],
  ]) {
    context.strokeText(letter, x, y);
    context.fillText(letter, x, y);
  }
}

function drawSurface(view, pane, coarse) {
  if (pane.node.classList.contains("hidden")) return;
  const context = prepare(pane.canvas);
  const { shape, spacing } = view.header;
  const render = (view.raycasters[view.shown] ??=
    createRaycaster(view.volumes[view.shown], shape, spacing, Math.round(SURFACE * 255)));
  const size = coarse ? 128 : clamp(Math.min(pane.canvas.width, pane.canvas.height), 128, 384);
  Object.assign(pane.buffer, { width: size, height: size });
  const buffer = pane.buffer.getContext("2d");
  const image = buffer.createImageData(size, size);
  const cut = view.cutaway ? view.cursor : null;
  render(new Uint32Array(image.data.buffer), size, view.azimuth, view.elevation, cut, greyTable(view.window));
  buffer.putImageData(image, 0, 0);
  const side = Math.min(pane.canvas.width, pane.canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(pane.buffer, (pane.canvas.width - side) / 2, (pane.canvas.height - side) / 2, side, side);
}
