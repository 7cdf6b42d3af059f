// What the letters do; the same list is the help.

/** The next of a list after one of it. */
const after = (list, one) => list[(list.indexOf(one) + 1) % list.length];

function setSignal(view, signal) {
  if (signal >= view.signals.length) return;
  update(view, { signal });
  say(view, signalOf(view).name);
}

function setMode(view, mode) {
  if (!view.header.compare) return;
  update(view, { mode });
  say(view, MODES[mode]);
}

function nextWindow(view) {
  const { windows, ranges } = signalOf(view);
  const edges = Object.values(windows);
  const same = (end) => Math.abs(end - view.range) < 1e-6;
  if (view.mode === "difference") update(view, { range: after(ranges, ranges.find(same)) });
  else update(view, { window: after(edges, edges.find((one) => sameWindow(one, view.window))).slice() });
}

const sameWindow = (one, other) => one.every((edge, i) => Math.abs(edge - other[i]) < 0.5);

function toggle(view, name) {
  update(view, { [name]: !view[name] });
}

/** Begin a distance at the crosshair, or end it there. */
function measureHere(view) {
  const here = view.cursor.map((index) => index + 0.5);
  if (view.measuring) view.measuring = false;
  else Object.assign(view, { ruler: { from: here, to: here }, measuring: true });
  update(view, {});
  const begun = "The distance begins here: move the crosshair, then press M again";
  say(view, view.measuring ? begun : `Distance ${rulerInWords(view)}`);
}

const CINE_MS = 80;

/** Play through the slices of the plane used last, to and fro. */
function toggleCine(view) {
  if (view.cine) {
    stopCine(view);
    update(view, {});
    return;
  }
  const { through } = PLANES[view.active] ?? PLANES[0];
  let direction = 1;
  view.cine = setInterval(() => {
    if (!view.root.isConnected) stopCine(view);
    const next = view.cursor[through] + direction;
    if (next < 0 || next >= view.header.shape[through]) direction = -direction;
    step(view, through, direction);
  }, CINE_MS);
  update(view, {});
}

function stopCine(view) {
  clearInterval(view.cine);
  view.cine = null;
}

const isFull = (view) => document.fullscreenElement !== null && view.root.getRootNode().fullscreenElement === view.root;

function toggleFullScreen(view) {
  const refused = () => say(view, "This browser does not allow the full screen here");
  if (isFull(view)) document.exitFullscreen();
  else if (view.root.requestFullscreen) view.root.requestFullscreen().catch(refused);
  else refused();
}

function toggleHelp(view) {
  const { help } = view.slots;
  help.hidden = !help.hidden;
  if (help.hidden) {
    view.panes[view.active].canvas.focus({ preventScroll: true });
    return;
  }
  help.replaceChildren(...buildHelp(view));
  help.focus({ preventScroll: true });
}

/** Leave whatever stands in the way, one thing at a time. */
function leave(view) {
  if (!view.slots.help.hidden) toggleHelp(view);
  else if (view.cine) toggleCine(view);
  else if (view.ruler) update(view, { ruler: null, measuring: false });
  else if (view.enlarged !== null) update(view, { enlarged: null });
}

const always = () => true;
const comparing = (view) => view.header.compare;
const several = (view) => view.signals.length > 1;
const labelled = (view) => view.labels;
const flip = (name) => (view) => toggle(view, name);

function nextSurface(view) {
  update(view, { preset: after(Object.keys(view.surfaces), view.preset) });
}

const shiftWipe = (view, key) => setWipe(view, view.wipe + (key === "[" ? -0.05 : 0.05));
const widen = (view, key) => adjustWindow(view, key === "-" ? -12 : 12, 0);
const brighten = (view, key) => adjustWindow(view, 0, key === "," ? -8 : 8);

/** Keys, what they do in words, when they do it, and the deed; lines without a deed are done by the canvases. */
const SHORTCUTS = [
  { keys: "↑ ↓ Page Home End", words: "scroll the plane, or turn the 3D view", when: always },
  { keys: "Shift+arrows", words: "move the crosshair within the plane", when: always },
  { keys: "1 2 3 4", words: "choose what is shown", when: several, act: (view, key) => setSignal(view, key - 1) },
  { keys: "S", words: "A beside B", when: comparing, act: (view) => setMode(view, "side") },
  { keys: "W", words: "wipe between A and B", when: comparing, act: (view) => setMode(view, "wipe") },
  { keys: "D", words: "difference B − A", when: comparing, act: (view) => setMode(view, "difference") },
  { keys: "[ ]", words: "move the wipe", when: comparing, act: shiftWipe },
  { keys: "V", words: "next window or scale", when: always, act: nextWindow },
  { keys: "- +", words: "narrower or wider window", when: always, act: widen },
  { keys: ", .", words: "darker or brighter", when: always, act: brighten },
  { keys: "M", words: "begin and end a distance at the crosshair", when: always, act: measureHere },
  { keys: "P", words: "play through the slices, or stop", when: always, act: toggleCine },
  { keys: "N", words: "radiological or neurological", when: always, act: flip("radiological") },
  { keys: "X", words: "crosshair", when: always, act: flip("crosshair") },
  { keys: "I", words: "smooth between voxels", when: always, act: flip("smooth") },
  { keys: "L", words: "labels", when: labelled, act: flip("overlay") },
  { keys: "U", words: "cutaway", when: always, act: flip("cutaway") },
  { keys: "T", words: "next 3D view", when: always, act: nextSurface },
  { keys: "Y", words: "table beside the scan", when: (view) => !view.header.compare, act: flip("folded") },
  { keys: "E", words: "enlarge the pane, or show all", when: always, act: (view) => enlarge(view, view.active) },
  { keys: "F", words: "full screen", when: always, act: toggleFullScreen },
  { keys: "G", words: "save the picture", when: mayKeep, act: savePicture },
  { keys: "R", words: "reset", when: always, act: resetView },
  { keys: "H ?", words: "these keys", when: always, act: toggleHelp },
  { keys: "Escape", words: "close, stop, clear the distance, show all", when: always, act: leave },
];

/** A letter pressed anywhere in the viewer; the page around it does not hear it. */
function pressKey(view, event) {
  if (!view.header || event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
  const typed = event.key === "=" ? "+" : event.key;
  const key = typed.length === 1 ? typed.toUpperCase() : typed;
  const found = SHORTCUTS.find(({ keys, act, when }) => act && keys.split(" ").includes(key) && when(view));
  if (!found) return;
  event.preventDefault();
  event.stopPropagation();
  found.act(view, key);
}
