// Linked axial, coronal and sagittal views with a cutaway, drawn in Canvas2D; one payload, then no server.
// The state of a viewer hangs on its root element as `root.somatwin`.

/**
 * What additions (mark.js, cycle.js) do: with a scene that has come, and with a plane drawn; controls that they add; words for the
 * line below and for a picture. Each is called with the view.
 */
const ADDED = { scene: [], plane: [], lower: [], readout: [], picture: [] };
const added = (kind, view) => ADDED[kind].map((one) => one(view)).filter(Boolean);

function show({ data, parentElement }) {
  const root = parentElement.querySelector(".viewer");
  const view = (root.somatwin ??= createView(root));
  const print = fingerprint(data);
  if (view.loading === print) return;
  // what was still on its way is not wanted any more, also where the scene wanted is the one shown
  view.loading = print;
  if (view.fingerprint === print) return;
  unpack(data).then((scene) => {
    if (view.loading === print) showScene(view, scene, print);
  });
}

/** What a reader can bring back with Reset. */
const START = {
  azimuth: 0.6, elevation: 0.3, zoom: 1, enlarged: null, ruler: null, measuring: false, wipe: 0.5, tool: "Point",
};

function createView(root) {
  const names = "upper lower strip wiper planes legend panel readout hint status help".split(" ");
  const view = {
    ...START, root, slots: Object.fromEntries(names.map((name) => [name, root.querySelector(`.${name}`)])),
    mode: "single", radiological: true, crosshair: true, cutaway: false, smooth: true, overlay: false, opacity: 0.45,
    signal: 0, folded: false, shown: 0, other: 1, saved: ALL, shape: SLIDE, preset: "Skin", active: 0, coarse: 112, draws: 0, milliseconds: 0, tables: {},
    get window() { return this.windows[this.signal]; },
    set window(value) { this.windows[this.signal] = value; },
    get range() { return this.ranges[this.signal]; },
    set range(value) { this.ranges[this.signal] = value; },
  };
  view.panes = [...root.querySelectorAll(".pane")].map((node, i) => createPane(view, node, i));
  root.addEventListener("keydown", (event) => pressKey(view, event));
  document.addEventListener("fullscreenchange", () => view.header && root.isConnected && update(view, {}));
  new ResizeObserver(() => requestDraw(view)).observe(view.slots.planes);
  return view;
}

function createPane(view, node, i) {
  const canvas = node.querySelector("canvas");
  const caption = node.querySelector("figcaption");
  // the three planes and the surface of A, then those of B
  const place = i % 4;
  const buffer = document.createElement("canvas");
  const pane = { node, canvas, caption, place, plane: PLANES[place], second: i > 3, buffer };
  if (pane.plane) listenToPlane(view, pane);
  else listenToSurface(view, pane);
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("dblclick", () => view.tool === "Point" && enlarge(view, place));
  return pane;
}

/** One plane, or the surface, alone; again for all of them. */
function enlarge(view, place) {
  update(view, { enlarged: view.enlarged === place ? null : place });
}

function showScene(view, scene, print) {
  const { header } = scene;
  const kind = ({ shape, channels, phases, compare }) => [shape, channels, phases[0], compare].join();
  const changed = !view.header || kind(view.header) !== kind(header), legend = header.legend.join();
  Object.assign(view, scene, { fingerprint: print, made: scene.cycles.map(() => []), renderers: {}, bodies: [], box: [] });
  view.box = bodyBox(view.cycles.flat(2), header.shape);
  showPhase(view, changed ? 0 : view.share);
  layOut(view);
  if (changed) {
    const signals = signalsOf(header);
    Object.assign(view, {
      signals, signal: 0, windows: signals.map(startWindow), ranges: signals.map((s) => s.range),
      cursor: startCursor(header),
      mode: header.compare ? "side" : "single", ruler: null, measuring: false,
    });
    stopCine(view);
  }
  if (changed || view.legend !== legend) {
    const surfaces = surfacesOf(view);
    Object.assign(view, { legend, hidden: new Set(), surfaces, preset: Object.keys(surfaces)[0] });
  }
  view.shown = Math.min(view.shown, header.people.length - 1);
  view.other = clamp(view.other, 1, Math.max(1, header.people.length - 1));
  view.root.dataset.fingerprint = print;
  view.root.classList.toggle("comparing", header.compare);
  added("scene", view);
  update(view, {});
  comeIntoView(view.root);
}

/** A new scene is looked at: the page scrolls to it where most of it is out of sight. */
function comeIntoView(root) {
  const { top, bottom } = root.getBoundingClientRect();
  const seen = Math.min(bottom, innerHeight) - Math.max(top, 0);
  if (seen < 0.4 * Math.min(innerHeight, bottom - top)) root.scrollIntoView({ block: "start" });
}

/** The panes by the shape of the body: beside tall planes, as a torso has, the others stand above each other. */
function layOut(view) {
  const [x, y, z] = boxExtent(view);
  const { root, slots } = view;
  root.classList.toggle("tall", z > 1.4 * Math.max(x, y));
  const { style } = slots.planes;
  style.setProperty("--coronal", x / z);
  style.setProperty("--sagittal", y / z);
}

function resetView(view) {
  const { signals } = view;
  stopCine(view);
  const [windows, ranges] = [signals.map(startWindow), signals.map((s) => s.range)];
  update(view, { ...START, windows, ranges, cursor: startCursor(view.header) });
  say(view, "Reset");
}

/** Change the view, bring the controls around it up to date, and draw. */
function update(view, changes) {
  Object.assign(view, changes);
  view.tables = {};
  view.root.dataset.mode = view.mode;
  // measured.js shows the same one
  document.documentElement.dataset.person = view.header.compare ? view.other : view.shown;
  const { slots, root } = view;
  const focused = root.getRootNode().activeElement;
  const bar = focused?.closest(".toolbar, .strip, .legend, .wiper, .help");
  const again = bar && [bar.className, focused.getAttribute("aria-label") ?? focused.textContent];
  slots.upper.replaceChildren(...buildUpper(view));
  slots.lower.replaceChildren(...buildLower(view));
  slots.strip.replaceChildren(...buildStrip(view));
  slots.wiper.replaceChildren(...buildWiper(view));
  slots.legend.replaceChildren(...buildLegend(view));
  slots.panel.replaceChildren(...(view.header.compare ? buildComparison(view) : buildTable(view)));
  slots.hint.textContent = HINTS[view.tool];
  if (again) refocus(root, ...again);
  for (const pane of view.panes) {
    const hidden = (pane.second && view.mode !== "side") || (view.enlarged !== null && view.enlarged !== pane.place);
    pane.node.classList.toggle("hidden", hidden);
  }
  root.classList.toggle("enlarged", view.enlarged !== null);
  root.classList.toggle("folded", view.folded);
  requestDraw(view);
}

function refocus(root, bar, text) {
  const inside = (node) => [...node.querySelectorAll("button, input, select")];
  const controls = [...root.getElementsByClassName(bar)].flatMap(inside);
  controls.find((c) => (c.getAttribute("aria-label") ?? c.textContent) === text)?.focus();
}

/** Draw once in the next frame; the 3D view turns coarse while something moves and sharpens at rest. */
function requestDraw(view) {
  if (!view.header) return;
  view.frame ??= requestAnimationFrame(() => {
    view.frame = null;
    drawAll(view, true);
    clearTimeout(view.settle);
    view.settle = setTimeout(() => rest(view), 160);
  });
}

function drawAll(view, coarse) {
  const began = performance.now();
  view.tables = {};
  for (const pane of view.panes) {
    if (pane.plane) drawPlane(view, pane);
    else drawSurface(view, pane, coarse);
  }
  const words = [placeInWords(view), readingInWords(view), windowInWords(view)];
  if (view.ruler) words.push(`distance ${rulerInWords(view)}`);
  words.push(...added("readout", view));
  view.slots.readout.textContent = words.join("  ·  ");
  const slider = view.slots.wiper.querySelector("input");
  if (slider) slider.value = Math.round(view.wipe * 100);
  view.milliseconds = performance.now() - began;
  view.draws += 1;
}

/** At rest: a fine 3D view, and the place and value spoken to whoever cannot see them. */
function rest(view) {
  if (view.playing || view.sweeping) return;
  for (const pane of view.panes) if (!pane.plane) drawSurface(view, pane, false);
  if (!view.cine) say(view, `${view.panes[view.active].caption.textContent}. ${view.slots.readout.textContent}`);
}

/** Tell a screen reader, once. */
function say(view, sentence) {
  if (view.slots.status.textContent !== sentence) view.slots.status.textContent = sentence;
}
