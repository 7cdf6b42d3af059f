// Mouse, touch and keyboard.

const SCROLLS = {
  ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 10, PageDown: -10, Home: -1e6, End: 1e6,
};
const TURNS = { ArrowLeft: [-12, 0], ArrowRight: [12, 0], ArrowUp: [0, -12], ArrowDown: [0, 12] };
const HINTS = {
  Point: "Click to jump · wheel or arrow keys scroll · right drag sets the window · double click enlarges",
  Window: "Drag sideways for the width of the window, up and down for its level",
  Distance: "Drag along what you want to measure",
};

/** Move the crosshair; while a distance is measured with the keyboard, its end goes along. */
function moveTo(view, cursor) {
  view.cursor = cursor;
  if (view.measuring) view.ruler.to = cursor.map((index) => index + 0.5);
  requestDraw(view);
}

function step(view, axis, steps) {
  const cursor = view.cursor.slice();
  cursor[axis] = clamp(cursor[axis] + steps, 0, view.header.shape[axis] - 1);
  moveTo(view, cursor);
}

/** The pointer in fractions of what a pane shows. */
function fractions(pane, event) {
  const box = pane.canvas.getBoundingClientRect();
  const x = ((event.clientX - box.left) * pane.canvas.width) / box.width;
  const y = ((event.clientY - box.top) * pane.canvas.height) / box.height;
  return [(x - pane.fit.left) / pane.fit.width, (y - pane.fit.top) / pane.fit.height];
}

const pointUnder = (view, pane, event) => pointAt(view, pane.plane, ...fractions(pane, event));
const jump = (view, pane, event) => moveTo(view, voxelOf(view.header, pointUnder(view, pane, event)));

/** Sideways widens the window, upwards brightens; for differences both set the end of the scale. */
function adjustWindow(view, dx, dy) {
  if (view.mode === "difference") {
    const { step: one } = signalOf(view);
    view.range = clamp(view.range * 1.01 ** (dx + dy), one, 256 * one);
  } else {
    const [low, high] = view.window;
    const width = clamp(high - low + dx, 8, 510);
    const centre = clamp((low + high) / 2 + dy * 0.7, 0, 255);
    view.window = [centre - width / 2, centre + width / 2];
  }
  requestDraw(view);
}

/** Call moved(event, dx, dy) while a pointer is held down, finished() when let go, pinched(dy) for two fingers. */
function trackDrag(canvas, { started, moved, finished, pinched }) {
  const fingers = new Map();
  let last = null;
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    canvas.focus({ preventScroll: true });
    fingers.set(event.pointerId, event.clientY);
    if (fingers.size > 1) return;
    last = [event.clientX, event.clientY];
    started(event);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!fingers.has(event.pointerId)) return;
    if (fingers.size > 1) pinched((event.clientY - fingers.get(event.pointerId)) / fingers.size);
    else moved(event, event.clientX - last[0], event.clientY - last[1]);
    fingers.set(event.pointerId, event.clientY);
    last = [event.clientX, event.clientY];
  });
  for (const kind of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(kind, (event) => {
      if (fingers.delete(event.pointerId) && !fingers.size) finished();
    });
  }
}

/** Call scrolled(steps) for each 40 pixels of travel. */
function inSteps(scrolled) {
  let travel = 0;
  return (pixels) => {
    travel += pixels;
    const steps = Math.trunc(travel / 40);
    travel -= steps * 40;
    if (steps) scrolled(steps);
  };
}

function listenToPlane(view, pane) {
  const { canvas, plane } = pane;
  // what the drag under way does, called with the event and how far it went
  let task = null;
  const begin = {
    Point: (event) => (jump(view, pane, event), (moved) => jump(view, pane, moved)),
    Window: () => (_moved, dx, dy) => adjustWindow(view, dx, -dy),
    Distance: (event) => {
      const from = pointUnder(view, pane, event);
      Object.assign(view, { ruler: { from, to: from }, measuring: false });
      return (moved) => {
        view.ruler.to = pointUnder(view, pane, moved);
        requestDraw(view);
      };
    },
    Wipe: () => (moved) => setWipe(view, fractions(pane, moved)[0]),
  };
  const kindOf = (event) => {
    if (event.button === 2) return "Window";
    return onDivider(view, pane, event) ? "Wipe" : view.tool;
  };
  trackDrag(canvas, {
    started: (event) => (task = begin[kindOf(event)](event)),
    moved: (event, dx, dy) => task(event, dx, dy),
    finished: () => update(view, {}),
    pinched: inSteps((steps) => step(view, plane.through, steps)),
  });
  const scrolled = inSteps((steps) => step(view, plane.through, -steps));
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    scrolled(Math.abs(event.deltaY) >= 50 ? Math.sign(event.deltaY) * 40 : event.deltaY);
  }, { passive: false });
  canvas.addEventListener("focus", () => (view.active = pane.place));
  canvas.addEventListener("keydown", (event) => {
    if (!(event.key in SCROLLS)) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.shiftKey && event.key.startsWith("Arrow")) moveWithin(view, plane, event.key);
    else step(view, plane.through, SCROLLS[event.key]);
  });
}

/** One voxel along an arrow as it points on the screen. */
function moveWithin(view, plane, key) {
  if (key === "ArrowUp" || key === "ArrowDown") step(view, plane.up, SCROLLS[key]);
  else step(view, plane.across, mirrored(view) ? -SCROLLS[key] : SCROLLS[key]);
}

function onDivider(view, pane, event) {
  if (view.mode !== "wipe") return false;
  const reach = (event.pointerType === "touch" ? 24 : 10) * dots();
  return Math.abs(fractions(pane, event)[0] - view.wipe) * pane.fit.width < reach;
}

function setWipe(view, share) {
  view.wipe = clamp(share, 0, 1);
  requestDraw(view);
}

function turn(view, dx, dy) {
  view.azimuth -= dx * 0.01;
  view.elevation = clamp(view.elevation + dy * 0.01, -1.5, 1.5);
  requestDraw(view);
}

function listenToSurface(view, pane) {
  let wiping = false;
  trackDrag(pane.canvas, {
    started: (event) => (wiping = onDivider(view, pane, event)),
    moved: (event, dx, dy) => (wiping ? setWipe(view, fractions(pane, event)[0]) : turn(view, dx, dy)),
    finished: () => {},
    pinched: () => {},
  });
  pane.canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    view.zoom = clamp(view.zoom * 0.999 ** event.deltaY, 0.6, 5);
    requestDraw(view);
  }, { passive: false });
  pane.canvas.addEventListener("focus", () => (view.active = pane.place));
  pane.canvas.addEventListener("keydown", (event) => {
    if (!(event.key in TURNS)) return;
    event.preventDefault();
    event.stopPropagation();
    turn(view, ...TURNS[event.key]);
  });
}
