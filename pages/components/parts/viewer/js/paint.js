// The planes on their canvases: slices, the wipe, crosshair, letters, distance.

const AMBER = "#f2c14e";
const CROSS = "rgba(94, 214, 200, 0.85)";
const RULER = "#ff8fd0";
const FONT = "system-ui, sans-serif";

/** How far down a picture the grip of the wipe sits. */
const GRIP = 0.86;

/** Canvas dots a pixel of the page; more while a picture is made. */
let magnified = 0;
const dots = () => magnified || window.devicePixelRatio || 1;

/** Give a canvas one device pixel a dot; returns its context, wiped. */
function prepare(canvas) {
  const { clientWidth, clientHeight } = canvas;
  const [width, height] = [clientWidth, clientHeight].map((length) => Math.max(1, Math.round(length * dots())));
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const context = canvas.getContext("2d");
  context.fillStyle = "#000";
  context.fillRect(0, 0, width, height);
  return context;
}

/** Paint one slice, a pixel a voxel, into a canvas of the slice's own size; colour(flat index) is an RGBA word. */
function paintSlice(canvas, view, plane, index, colour) {
  const { shape } = view.header;
  const step = strides(shape);
  const [width, height] = [shape[plane.across], shape[plane.up]];
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  const flip = mirrored(view);
  for (let row = 0; row < height; row++) {
    const start = index * step[plane.through] + (height - 1 - row) * step[plane.up];
    for (let column = 0; column < width; column++) {
      const across = flip ? width - 1 - column : column;
      pixels[row * width + column] = colour(start + across * step[plane.across]);
    }
  }
  context.putImageData(image, 0, 0);
}

/** What a pane shows, from left to right: who, and from which to which fraction of the fitted width. */
function layersOf(view, pane) {
  const { mode, wipe, other } = view;
  if (mode === "single") return [{ person: view.shown, from: 0, to: 1 }];
  if (mode === "side") return [{ person: pane.second ? other : 0, from: 0, to: 1 }];
  if (mode === "difference") return [{ person: 0, less: other, from: 0, to: 1 }];
  return [{ person: 0, from: 0, to: wipe }, { person: other, from: wipe, to: 1 }];
}

function drawPlane(view, pane) {
  if (pane.node.classList.contains("hidden")) return;
  const { plane, canvas } = pane;
  const context = prepare(canvas);
  const index = view.cursor[plane.through];
  const fit = (pane.fit = fitPlane(canvas, view, plane));
  context.imageSmoothingEnabled = view.smooth;
  context.imageSmoothingQuality = view.playing && !magnified ? "low" : "high";
  for (const { person, less, from, to } of layersOf(view, pane)) {
    paintSlice(pane.buffer, view, plane, index,
      less === undefined ? greyPainter(view, person) : changePainter(view, person, less));
    context.save();
    context.beginPath();
    context.rect(fit.left + fit.width * from, 0, fit.width * (to - from), canvas.height);
    context.clip();
    context.drawImage(pane.buffer, fit.left, fit.top, fit.width, fit.height);
    context.restore();
  }
  if (view.crosshair) drawCrosshair(context, view, plane, fit);
  drawDivider(context, view, fit);
  drawRuler(context, view, plane, fit);
  for (const draw of ADDED.plane) draw(view, context, plane, fit);
  pane.letters = edgeLetters(view, plane);
  drawLetters(context, pane.letters);
  drawNames(context, view, pane, fit);
  const count = view.header.shape[plane.through];
  const name = planeName(view, plane);
  const words = `${name}  ${index + 1} / ${count}`;
  if (pane.caption.textContent === words) return;
  pane.caption.textContent = words;
  canvas.setAttribute("aria-label", `${name} slice ${index + 1} of ${count}. Arrow keys scroll.`);
}

/** Two lines through the cursor that leave the voxel itself visible. */
function drawCrosshair(context, view, plane, fit) {
  const place = onCanvas(view, plane, fit, view.cursor.map((index) => index + 0.5));
  const [x, y] = place.map((p) => Math.round(p) + 0.5);
  // the margin keeps the lines off the letters
  const [gap, margin] = [12 * dots(), 28 * dots()];
  const { width, height } = context.canvas;
  const [left, right] = [Math.max(fit.left, margin), Math.min(fit.left + fit.width, width - margin)];
  const [top, bottom] = [Math.max(fit.top, margin), Math.min(fit.top + fit.height, height - margin)];
  const lines = [[left, y, x - gap, y], [x + gap, y, right, y], [x, top, x, y - gap], [x, y + gap, x, bottom]];
  context.strokeStyle = CROSS;
  context.lineWidth = dots();
  context.beginPath();
  for (const [x0, y0, x1, y1] of lines) {
    if (x1 >= x0 && y1 >= y0) { context.moveTo(x0, y0); context.lineTo(x1, y1); }
  }
  context.stroke();
}

/** Words on a picture, with a dark edge. */
function write(context, text, x, y, colour, { size = 13, weight = 600, align = "center" } = {}) {
  context.font = `${weight} ${size * dots()}px ${FONT}`;
  context.textAlign = align;
  context.textBaseline = "middle";
  context.lineWidth = 3 * dots();
  context.lineJoin = "round";
  context.strokeStyle = "rgba(0, 0, 0, 0.75)";
  context.strokeText(text, x, y);
  context.fillStyle = colour;
  context.fillText(text, x, y);
}

function drawLetters(context, { left, right, top, bottom }) {
  const { width, height } = context.canvas;
  const inset = 15 * dots();
  write(context, left, inset, height / 2, AMBER);
  write(context, right, width - inset, height / 2, AMBER);
  write(context, top, width / 2, inset, AMBER);
  write(context, bottom, width / 2, height - inset, AMBER);
}

/** A letter on a white tile, unlike those of the patient's sides, and who that is as far as there is room. */
function drawTile(context, letter, name, x, y, room) {
  const side = 18 * dots();
  context.font = `700 ${12 * dots()}px ${FONT}`;
  const width = Math.max(side, context.measureText(letter).width + 10 * dots());
  context.fillStyle = "#e8eef0";
  context.fillRect(x, y - side / 2, width, side);
  context.fillStyle = "#0b0f12";
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(letter, x + width / 2, y + dots());
  context.font = `400 ${12 * dots()}px ${FONT}`;
  const long = context.measureText(name).width;
  if (!name || x + long > context.canvas.width) return;
  // beside the letter as far as there is room, else below
  const beside = long + width < room;
  const [left, line] = beside ? [x + width + 7 * dots(), y] : [x, y + 19 * dots()];
  write(context, name, left, line, "#dfe6e9", { size: 12, weight: 500, align: "left" });
}

/** Who is shown where, when two are compared. */
function drawNames(context, view, pane, fit) {
  const { people } = view.header;
  const [y, inset] = [18 * dots(), 10 * dots()];
  // up to the letter at the top
  const room = context.canvas.width / 2 - 50 * dots();
  const tile = (letter, name, x, at = y) => drawTile(context, letter, name, x, at, room);
  if (view.mode === "single" && people[view.shown].says) tile(people[view.shown].says, "", inset);
  if (view.mode === "side") {
    const { title, says } = people[pane.second ? view.other : 0];
    tile(pane.second ? "B" : "A", says || title, inset);
  }
  if (view.mode === "difference") tile("B − A", "", inset);
  if (view.mode !== "wipe") return;
  const [x, below] = [fit.left + fit.width * view.wipe, fit.top + fit.height * GRIP];
  tile("A", "", x - 34 * dots(), below);
  tile("B", "", x + 16 * dots(), below);
}

function drawDivider(context, view, fit) {
  if (view.mode !== "wipe") return;
  const x = Math.round(fit.left + fit.width * view.wipe) + 0.5;
  const middle = fit.top + fit.height * GRIP;
  context.strokeStyle = "#fff";
  context.lineWidth = 1.5 * dots();
  context.beginPath();
  context.moveTo(x, fit.top);
  context.lineTo(x, fit.top + fit.height);
  context.stroke();
  context.fillStyle = "#fff";
  context.beginPath();
  context.arc(x, middle, 9 * dots(), 0, 7);
  context.fill();
  write(context, "◂ ▸", x, middle, "#fff", { size: 9 });
}

/** The distance measured, where an end of it lies in the slice; dashed when the other end lies elsewhere. */
function drawRuler(context, view, plane, fit) {
  if (!view.ruler) return;
  const ends = [view.ruler.from, view.ruler.to];
  const inSlice = ends.map((end) => Math.floor(end[plane.through]) === view.cursor[plane.through]);
  if (!inSlice.some(Boolean)) return;
  const [[x0, y0], [x1, y1]] = ends.map((end) => onCanvas(view, plane, fit, end));
  context.save();
  context.strokeStyle = RULER;
  context.lineWidth = 1.6 * dots();
  if (!inSlice.every(Boolean)) context.setLineDash([5 * dots(), 4 * dots()]);
  context.beginPath();
  context.moveTo(x0, y0);
  context.lineTo(x1, y1);
  context.stroke();
  context.setLineDash([]);
  for (const [x, y] of [[x0, y0], [x1, y1]]) {
    context.beginPath();
    context.arc(x, y, 3.5 * dots(), 0, 7);
    context.stroke();
  }
  context.restore();
  const { width, height } = context.canvas;
  const [x, y] = [clamp((x0 + x1) / 2, 40, width - 40), clamp((y0 + y1) / 2 - 14 * dots(), 12, height - 12)];
  write(context, rulerInWords(view), x, y, RULER);
}

const rulerInWords = (view) => `${distance(view.header, view.ruler.from, view.ruler.to).toFixed(1)} mm`;

/** The scale of the difference map: a bar from the least to the most, and three numbers. */
function drawScale(context, view, left, top, width) {
  const height = 9 * dots();
  for (let x = 0; x < width; x++) {
    context.fillStyle = `rgb(${changeColour((2 * x) / Math.max(1, width - 1) - 1).map(Math.round)})`;
    context.fillRect(left + x, top, 1, height);
  }
  const signal = signalOf(view);
  const end = `${view.range.toFixed(signal.digits)}${signal.unit}`;
  const y = top + height + 10 * dots();
  const label = (text, x, align) => write(context, text, x, y, "#c9d3d8", { size: 11, weight: 400, align });
  label(`−${end} less in B`, left, "left");
  label("0", left + width / 2, "center");
  label(`more in B +${end}`, left + width, "right");
}
