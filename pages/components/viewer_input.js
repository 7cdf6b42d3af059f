// Mouse, touch and keyboard.

const KEYS = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 10, PageDown: -10, Home: -1e6, End: 1e6 };

function scroll(view, plane, steps) {
  const cursor = view.cursor.slice();
  cursor[plane.through] = clamp(cursor[plane.through] + steps, 0, view.header.shape[plane.through] - 1);
  view.cursor = cursor;
  requestDraw(view);
}

/** The voxel under the pointer becomes the crosshair. */
function jump(view, pane, event) {
  const box = pane.canvas.getBoundingClientRect();
  const x = ((event.clientX - box.left) * pane.canvas.width) / box.width;
  const y = ((event.clientY - box.top) * pane.canvas.height) / box.height;
  view.cursor = pick(view, pane.plane, (x - pane.fit.left) / pane.fit.width, (y - pane.fit.top) / pane.fit.height);
  requestDraw(view);
}

/** Right drag: sideways widens the window, upwards brightens. */
function adjustWindow(view, dx, dy) {
  const [low, high] = view.window;
  const width = clamp(high - low + dx, 8, 510);
  const centre = clamp((low + high) / 2 + dy * 0.7, 0, 255);
  view.window = [centre - width / 2, centre + width / 2];
  requestDraw(view);
}

/** Call moved(event, dx, dy) while a pointer is held down, and finished() when it is let go. */
function trackDrag(canvas, started, moved, finished) {
  let last = null;
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    canvas.focus({ preventScroll: true });
    last = [event.clientX, event.clientY, event.button];
    started(event);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!last) return;
    moved(event, event.clientX - last[0], event.clientY - last[1], last[2]);
    last = [event.clientX, event.clientY, last[2]];
  });
  for (const kind of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(kind, () => {
      last = null;
      finished();
    });
  }
}

function listenToPlane(view, pane) {
  const { canvas, plane } = pane;
  const started = (event) => event.button === 0 && jump(view, pane, event);
  const moved = (event, dx, dy, button) => (button === 2 ? adjustWindow(view, dx, -dy) : jump(view, pane, event));
  trackDrag(canvas, started, moved, () => update(view, {}));
  let travel = 0;
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    travel += Math.abs(event.deltaY) >= 50 ? Math.sign(event.deltaY) * 40 : event.deltaY;
    const steps = Math.trunc(travel / 40);
    travel -= steps * 40;
    if (steps) scroll(view, plane, -steps);
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    if (!(event.key in KEYS)) return;
    event.preventDefault();
    event.stopPropagation();
    scroll(view, plane, KEYS[event.key]);
  });
}

function turn(view, dx, dy) {
  view.azimuth -= dx * 0.01;
  view.elevation = clamp(view.elevation + dy * 0.01, -1.5, 1.5);
  requestDraw(view);
}

function listenToSurface(view, pane) {
  trackDrag(pane.canvas, () => {}, (event, dx, dy) => turn(view, dx, dy), () => {});
  const turns = { ArrowLeft: [-12, 0], ArrowRight: [12, 0], ArrowUp: [0, -12], ArrowDown: [0, 12] };
  pane.canvas.addEventListener("keydown", (event) => {
    if (!(event.key in turns)) return;
    event.preventDefault();
    event.stopPropagation();
    turn(view, ...turns[event.key]);
  });
}

/** Everything as shown, with the warning and the person burned in, as a PNG file. */
function savePicture(view) {
  const panes = view.panes.filter((pane) => !pane.node.classList.contains("hidden"));
  const columns = panes.length > 1 ? 2 : 1;
  const [width, height] = [panes[0].canvas.width, panes[0].canvas.height];
  const scale = window.devicePixelRatio || 1;
  const footer = 52 * scale;
  const canvas = element("canvas");
  Object.assign(canvas, { width: width * columns, height: height * Math.ceil(panes.length / columns) + footer });
  const context = canvas.getContext("2d");
  context.fillRect(0, 0, canvas.width, canvas.height);
  panes.forEach((pane, i) => context.drawImage(pane.canvas, (i % columns) * width, Math.floor(i / columns) * height));
  const person = view.header.people[view.shown];
  const facts = person.rows.map((row) => `${row.label} ${row.value} ${row.unit}`.trim()).join(", ");
  context.fillStyle = AMBER;
  context.font = `600 ${14 * scale}px system-ui, sans-serif`;
  context.fillText(view.header.footer, 12 * scale, canvas.height - footer + 20 * scale);
  context.fillStyle = "#c9d3d8";
  context.font = `${12 * scale}px system-ui, sans-serif`;
  context.fillText(`${view.header.model}, ${person.title}: ${facts}`, 12 * scale, canvas.height - 14 * scale);
  view.picture = canvas;
  const link = element("a", { download: `${person.file}.png` });
  link.href = canvas.toDataURL("image/png");
  link.click();
}
