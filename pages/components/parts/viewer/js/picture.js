// The picture that leaves the viewer: what is on screen, and below it who, what and how, with the warning.

/** Text broken into lines that fit a width. */
function wrapText(context, text, width) {
  const lines = [""];
  for (const piece of text.split(" ")) {
    const longer = `${lines.at(-1)} ${piece}`.trim();
    if (context.measureText(longer).width <= width || !lines.at(-1)) lines[lines.length - 1] = longer;
    else lines.push(piece);
  }
  return lines;
}

/** The persons shown, with the letter each has in a comparison. */
function shownPeople(view) {
  const { people } = view.header;
  if (!view.header.compare) return [["", people[view.shown]]];
  return [["A: ", people[0]], ["B: ", people[view.other]]];
}

const MODES = { single: "", side: "A beside B", wipe: "Wipe between A and B", difference: "Difference B − A" };

/** What the picture shows, in sentences: the model and the view, then a line for each person. */
function pictureWords(view) {
  const facts = (rows) => (rows ?? []).map((row) => `${row.label} ${row.value} ${row.unit}`.trim()).join(", ");
  const who = shownPeople(view).map(([letter, { title, subtitle, rows }]) =>
    letter + [title, subtitle, facts(rows)].filter(Boolean).join("  ·  "));
  const mode = view.mode === "wipe" ? `${MODES.wipe} at ${Math.round(view.wipe * 100)} %` : MODES[view.mode];
  const how = [view.header.model, mode, ...added("picture", view), signalOf(view).name, windowInWords(view), placeInWords(view),
    view.radiological ? "radiological" : "neurological", view.ruler ? `distance ${rulerInWords(view)}` : ""];
  return [how.filter(Boolean).join("  ·  "), ...who];
}

/** The labels drawn, each with its place in rows of the given width; `scale`: dots a pixel of the words. */
function layLegend(context, view, width, scale) {
  if (!coloursShown(view) || view.mode === "difference") return [];
  let [x, row] = [0, 0];
  return view.header.legend.filter(([value]) => !view.hidden.has(value)).map(([, name, colour]) => {
    const long = context.measureText(name).width + 34 * scale;
    if (x && x + long > width) [x, row] = [0, row + 1];
    x += long;
    return { name, colour, row, x: x - long };
  });
}

/** What is saved when no view is chosen, and the least longest side of a picture in dots. */
const ALL = "All views";
const SIDE = 1920;

/** The shape of a slide, its height in dots, and how much of that words may take; else a picture is as large as what is shown. */
const SLIDE = "Slide 16:9";
const [HIGH, WORDS] = [1080, 324];

/** The panes of the views that are saved: those on screen, or those of one plane. */
function savedPanes(view) {
  const there = view.panes.filter(({ node }) => !node.classList.contains("hidden"));
  const one = there.filter(({ plane }) => (plane ? planeName(view, plane) : "3D") === view.saved);
  return one.length ? one : there;
}

/** The rectangle around some panes, in pixels of the page. */
function around(panes) {
  const boxes = panes.map(({ canvas }) => canvas.getBoundingClientRect());
  const [left, top] = ["left", "top"].map((side) => Math.min(...boxes.map((box) => box[side])));
  const [right, bottom] = ["right", "bottom"].map((side) => Math.max(...boxes.map((box) => box[side])));
  return { left, top, width: right - left, height: bottom - top };
}

/** Some panes as they stand within a rectangle, with their captions. */
function copyPanes(context, panes, box) {
  for (const { canvas, caption, captionSize, raised } of panes) {
    const place = canvas.getBoundingClientRect();
    const [x, y] = [place.left - box.left, place.top - box.top].map((length) => Math.round(length * dots()));
    context.drawImage(canvas, x, y);
    const low = y + canvas.height - (raised ? CAPTION.raised : CAPTION.low) * dots();
    write(context, caption.textContent, x + CAPTION.left * dots(), low, "#9aa6ad", { size: captionSize, weight: 400, align: "left" });
  }
}

/** The warning, and what it takes to draw these people again. */
function footerInWords(view) {
  const { footer, weights } = view.header;
  const seeds = [...new Set(shownPeople(view).map(([, { seed }]) => seed).filter((seed) => seed !== undefined))];
  return [footer, seeds.length && `seed ${seeds.join(", ")}`, weights && `weights ${weights}`].filter(Boolean).join("  ·  ");
}

/** Pixels to which the words below a picture are set, so that those of a narrow one have room. */
const NARROW = 420;

/** What stands below a picture of a width, with its letters' size, and how high that is, in dots. */
function below(view, context, width, scale) {
  const margin = 12 * scale;
  const small = `400 ${12 * scale}px ${FONT}`;
  const large = `600 ${14 * scale}px ${FONT}`;
  context.font = small;
  const lines = pictureWords(view).flatMap((text) => wrapText(context, text, width - 2 * margin));
  const labels = layLegend(context, view, width - 2 * margin, scale);
  context.font = large;
  const warning = wrapText(context, footerInWords(view), width - 2 * margin);
  const rows = labels.length ? labels.at(-1).row + 1 : 0;
  const legend = view.mode === "difference" ? 34 * dots() : rows * 20 * scale + (rows ? 6 * scale : 0);
  const height = Math.ceil(legend + (lines.length * 18 + warning.length * 19 + 25) * scale);
  return { scale, margin, small, large, lines, labels, warning, legend, height };
}

/** The words below a slide: as large as leaves the panes enough of it. */
function onSlide(view, context) {
  const sizes = [1.5, 1.2, 0.9].map((scale) => below(view, context, SIDE, scale));
  return sizes.find(({ height }) => height <= WORDS) ?? sizes[2];
}

/** Some panes as shown, with the warning and the persons burned in; a slide has them in its middle, on black. */
function composePicture(view, panes) {
  const slide = view.shape === SLIDE;
  const box = around(panes);
  const [wide, high] = [box.width, box.height].map((length) => Math.round(length * dots()));
  const canvas = element("canvas");
  const context = canvas.getContext("2d");
  const width = slide ? SIDE : wide;
  const words = slide ? onSlide(view, context) : below(view, context, width, Math.min(dots(), wide / NARROW));
  const { scale, margin, small, large, lines, labels, warning, legend } = words;
  const top = slide ? HIGH - words.height : high;
  Object.assign(canvas, { width, height: top + words.height });
  context.fillStyle = "#000";
  context.fillRect(0, 0, canvas.width, canvas.height);
  canvas.ariaLabel = [...lines, ...warning].join("\n");
  const [left, above] = [Math.round((width - wide) / 2), Math.round((top - high) / 2)];
  copyPanes(context, panes, { left: box.left - left / dots(), top: box.top - above / dots() });
  if (view.mode === "difference") {
    drawScale(context, view, margin, top + 8 * dots(), Math.min(width - 2 * margin, 420 * dots()));
  }
  const put = (text, x, y, font, colour) => {
    Object.assign(context, { font, fillStyle: colour, textAlign: "left", textBaseline: "middle" });
    context.fillText(text, x, y);
  };
  for (const { name, colour, row, x } of labels) {
    const y = top + (16 + 20 * row) * scale;
    context.fillStyle = colour;
    context.fillRect(margin + x, y - 5 * scale, 10 * scale, 10 * scale);
    put(name, margin + x + 16 * scale, y, small, "#c9d3d8");
  }
  lines.forEach((line, i) => put(line, margin, top + legend + (18 * i + 18) * scale, small, "#c9d3d8"));
  warning.reverse().forEach((line, i) => put(line, margin, canvas.height - (19 + 19 * i) * scale, large, AMBER));
  return canvas;
}

/** Scans of a reader's own store are shown and not taken away. */
const mayKeep = (view) => view.header.pictures !== false;

function savePicture(view) {
  if (!mayKeep(view)) return;
  const panes = savedPanes(view);
  const { crosshair } = view;
  const { width, height } = around(panes);
  if (view.shape === SLIDE) {
    // the scale of a difference grows with the dots: it has all the room for words
    const words = view.mode === "difference" ? WORDS : onSlide(view, element("canvas").getContext("2d")).height;
    magnified = Math.min(SIDE / width, (HIGH - words) / height);
  } else magnified = Math.max(dots(), SIDE / (panes.length < view.panes.length / 2 ? Math.max(width, height) : width));
  view.crosshair = false;
  drawAll(view, false);
  view.picture = composePicture(view, panes);
  magnified = 0;
  view.crosshair = crosshair;
  drawAll(view, false);
  const files = shownPeople(view).map(([, person]) => person.file ?? "scan");
  const one = view.saved === ALL ? [] : [view.saved.toLowerCase()];
  const name = `${[...files, ...one].join("_")}.png`;
  view.picture.toBlob((blob) => {
    const link = element("a", { download: name });
    link.href = URL.createObjectURL(blob);
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    say(view, "Picture saved");
  }, "image/png");
}
