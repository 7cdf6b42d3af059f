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

/** What the picture shows, in sentences. */
function pictureWords(view) {
  const { model } = view.header;
  const facts = (rows) => (rows ?? []).map((row) => `${row.label} ${row.value} ${row.unit}`.trim()).join(", ");
  const who = shownPeople(view).map(([letter, { title, subtitle, rows }]) =>
    `${letter}${[title, subtitle].filter(Boolean).join(", ")}: ${facts(rows)}`);
  const mode = view.mode === "wipe" ? `${MODES.wipe} at ${Math.round(view.wipe * 100)} %` : MODES[view.mode];
  const how = [mode, ...added("picture", view), signalOf(view).name, windowInWords(view), placeInWords(view),
    view.radiological ? "radiological" : "neurological", view.ruler ? `distance ${rulerInWords(view)}` : ""];
  return [`${model ? `${model}, ` : ""}${who[0]}`, ...who.slice(1), how.filter(Boolean).join("  ·  ")];
}

/** The labels drawn, each with its place in rows of the given width. */
function layLegend(context, view, width) {
  if (!coloursShown(view) || view.mode === "difference") return [];
  let [x, row] = [0, 0];
  return view.header.legend.filter(([value]) => !view.hidden.has(value)).map(([, name, colour]) => {
    const long = context.measureText(name).width + 34 * dots();
    if (x && x + long > width) [x, row] = [0, row + 1];
    x += long;
    return { name, colour, row, x: x - long };
  });
}

/** What is saved when no view is chosen, and the least longest side of a picture in dots. */
const ALL = "All views";
const SIDE = 1920;

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
  for (const { canvas, caption } of panes) {
    const place = canvas.getBoundingClientRect();
    const [x, y] = [place.left - box.left, place.top - box.top].map((length) => Math.round(length * dots()));
    context.drawImage(canvas, x, y);
    const [left, low] = [x + 12 * dots(), y + canvas.height - 14 * dots()];
    write(context, caption.textContent, left, low, "#9aa6ad", { size: 12, weight: 400, align: "left" });
  }
}

/** The warning, and what it takes to draw these people again. */
function footerInWords(view) {
  const { footer, weights } = view.header;
  const seeds = [...new Set(shownPeople(view).map(([, { seed }]) => seed).filter((seed) => seed !== undefined))];
  return [footer, seeds.length && `seed ${seeds.join(", ")}`, weights && `weights ${weights}`].filter(Boolean).join("  ·  ");
}

/** Some panes as shown, with the warning and the persons burned in. */
function composePicture(view, panes) {
  const scale = dots();
  const margin = 12 * scale;
  const box = around(panes);
  const [width, top] = [Math.round(box.width * scale), Math.round(box.height * scale)];
  const canvas = element("canvas");
  const context = canvas.getContext("2d");
  const small = `400 ${12 * scale}px ${FONT}`;
  context.font = small;
  const lines = pictureWords(view).flatMap((text) => wrapText(context, text, width - 2 * margin));
  context.font = `600 ${14 * scale}px ${FONT}`;
  const warning = wrapText(context, footerInWords(view), width - 2 * margin);
  context.font = small;
  const labels = layLegend(context, view, width - 2 * margin);
  const rows = labels.length ? labels.at(-1).row + 1 : 0;
  const legend = view.mode === "difference" ? 34 * scale : rows * 20 * scale + (rows ? 6 * scale : 0);
  Object.assign(canvas, { width, height: Math.round(top + legend + (lines.length * 18 + warning.length * 19 + 25) * scale) });
  context.fillStyle = "#000";
  context.fillRect(0, 0, canvas.width, canvas.height);
  canvas.ariaLabel = [...lines, ...warning].join("\n");
  copyPanes(context, panes, box);
  if (view.mode === "difference") {
    drawScale(context, view, margin, top + 8 * scale, Math.min(width - 2 * margin, 420 * scale));
  }
  for (const { name, colour, row, x } of labels) {
    const y = top + (16 + 20 * row) * scale;
    context.fillStyle = colour;
    context.fillRect(margin + x, y - 5 * scale, 10 * scale, 10 * scale);
    write(context, name, margin + x + 16 * scale, y, "#c9d3d8", { size: 12, weight: 400, align: "left" });
  }
  context.textBaseline = "alphabetic";
  context.textAlign = "left";
  context.font = small;
  context.fillStyle = "#c9d3d8";
  lines.forEach((line, i) => context.fillText(line, margin, top + legend + (18 * (i + 1) + 4) * scale));
  context.fillStyle = AMBER;
  context.font = `600 ${14 * scale}px ${FONT}`;
  warning.reverse().forEach((line, i) => context.fillText(line, margin, canvas.height - (14 + 19 * i) * scale));
  return canvas;
}

/** Scans of a reader's own store are shown and not taken away. */
const mayKeep = (view) => view.header.pictures !== false;

function savePicture(view) {
  if (!mayKeep(view)) return;
  const panes = savedPanes(view);
  const { crosshair } = view;
  const { width, height } = around(panes);
  const least = panes.length < view.panes.length / 2 ? Math.max(width, height) : width;
  magnified = Math.max(dots(), SIDE / least);
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
