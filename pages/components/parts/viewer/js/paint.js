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
  placeCaption(context, pane, words, pane.letters.bottom);
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

/** Pixels of a caption's letters, of its left end from the pane's, of its middle from the lower edge, and where it is raised. */
const CAPTION = { size: 12, left: 12, low: 14, raised: 33 };

/** How wide words are, in dots. */
function widthOf(context, text, size, weight = 600) {
  context.font = `${weight} ${size * dots()}px ${FONT}`;
  return context.measureText(text).width;
}

/** From the middle of an edge to where words may begin beside its letter. */
const clearOf = (context, letter) => (letter ? widthOf(context, letter, 13) / 2 + 6 * dots() : 0);

/** A pane's caption is as large as fits, and stands above the letter at the lower edge where there is no room beside it. */
function placeCaption(context, pane, words, letter = "") {
  const { width } = context.canvas;
  const room = width - (CAPTION.left + 4) * dots();
  const long = widthOf(context, words, CAPTION.size, 400);
  pane.captionSize = CAPTION.size * Math.min(1, room / long);
  pane.raised = Boolean(letter) && CAPTION.left * dots() + long > width / 2 - clearOf(context, letter);
  pane.node.classList.toggle("raised", pane.raised);
  pane.caption.style.fontSize = long > room ? `${pane.captionSize.toFixed(1)}px` : "";
}

function drawLetters(context, { left, right, top, bottom }) {
  const { width, height } = context.canvas;
  const inset = 15 * dots();
  write(context, left, inset, height / 2, AMBER);
  write(context, right, width - inset, height / 2, AMBER);
  write(context, top, width / 2, inset, AMBER);
  write(context, bottom, width / 2, height - inset, AMBER);
}

/** Pixels of a tile's side, and from one line of words to the next. */
const [TILE, LINE] = [18, 20];

/** A letter on a white tile, unlike those of the patient's sides; returns its width. */
function drawTile(context, letter, x, y, room = Infinity) {
  const side = TILE * dots();
  const full = widthOf(context, letter, 12, 700);
  const size = 12 * Math.min(1, (room - 10 * dots()) / full);
  const width = Math.max(side, widthOf(context, letter, size, 700) + 10 * dots());
  context.fillStyle = "#e8eef0";
  context.fillRect(x, y - side / 2, width, side);
  context.fillStyle = "#0b0f12";
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(letter, x + width / 2, y + dots());
  return width;
}

/** A tile in a pane's upper left corner and who that is, clear of the letter in the middle of the upper edge. */
function nameCorner(context, pane, letter, name) {
  const [inset, step] = [10 * dots(), LINE * dots()];
  const edge = context.canvas.width;
  const middle = pane.letters ? edge / 2 - clearOf(context, pane.letters.top) : edge;
  const wide = Math.max(TILE * dots(), widthOf(context, letter, 12, 700) + 10 * dots());
  const y = 18 * dots() + (inset + wide > middle ? step : 0);
  const tile = drawTile(context, letter, inset, y, edge - 2 * inset);
  if (!name) return;
  const long = widthOf(context, name, 12, 500);
  // beside the tile as far as there is room, else below and as large as fits
  const left = inset + tile + 7 * dots();
  const words = { weight: 500, align: "left" };
  if (left + long < middle) write(context, name, left, y, "#dfe6e9", { size: 12, ...words });
  else write(context, name, inset, y + step, "#dfe6e9", { size: 12 * Math.min(1, (edge - 2 * inset) / long), ...words });
}

/** Who is shown where, when two are compared. */
function drawNames(context, view, pane, fit) {
  const { people } = view.header;
  const corner = (letter, name = "") => nameCorner(context, pane, letter, name);
  if (view.mode === "single" && people[view.shown].says) corner(people[view.shown].says);
  if (view.mode === "side") {
    const { title, says } = people[pane.second ? view.other : 0];
    corner(pane.second ? "B" : "A", says || title);
  }
  if (view.mode === "difference") corner("B − A");
  if (view.mode !== "wipe") return;
  const x = fit.left + fit.width * view.wipe;
  const y = gripHeight(context, fit);
  const aside = 34 * dots();
  if (x >= aside) drawTile(context, "A", x - aside, y);
  if (x + aside <= context.canvas.width) drawTile(context, "B", x + aside - TILE * dots(), y);
}

/** How far down the grip of the wipe sits, above what stands at the lower edge. */
const gripHeight = ({ canvas }, fit) => Math.min(fit.top + fit.height * GRIP, canvas.height - 54 * dots());

function drawDivider(context, view, fit) {
  if (view.mode !== "wipe") return;
  const x = Math.round(fit.left + fit.width * view.wipe) + 0.5;
  const middle = gripHeight(context, fit);
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
  // off the letters at the edges, the names at the top and the caption at the foot
  const words = rulerInWords(view);
  const half = Math.min(widthOf(context, words, 13) / 2 + 28 * dots(), width / 2);
  const [high, low] = [66 * dots(), height - 54 * dots()];
  const y = clamp((y0 + y1) / 2 - 14 * dots(), Math.min(high, low), Math.max(high, low));
  write(context, words, clamp((x0 + x1) / 2, half, width - half), y, RULER);
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
  const [less, more] = [`−${end} less in B`, `more in B +${end}`];
  const needed = 2 * Math.max(...[less, more].map((words) => widthOf(context, words, 11, 400))) + 30 * dots();
  const size = 11 * Math.min(1, width / needed);
  const label = (text, x, align) => write(context, text, x, y, "#c9d3d8", { size, weight: 400, align });
  label(less, left, "left");
  label("0", left + width / 2, "center");
  label(more, left + width, "right");
}
