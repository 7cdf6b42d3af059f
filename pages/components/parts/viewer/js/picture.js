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
  const how = [mode, signalOf(view).name, windowInWords(view), placeInWords(view),
    view.radiological ? "radiological" : "neurological", view.ruler ? `distance ${rulerInWords(view)}` : ""];
  return [`${model ? `${model}, ` : ""}${who[0]}`, ...who.slice(1), how.filter(Boolean).join("  ·  ")];
}

/** The labels drawn, each with its place in rows of the given width. */
function layLegend(context, view, width) {
  if (!view.labels || !view.overlay || view.mode === "difference") return [];
  let [x, row] = [0, 0];
  return view.header.legend.filter(([value]) => !view.hidden.has(value)).map(([, name, colour]) => {
    const long = context.measureText(name).width + 34 * dots();
    if (x && x + long > width) [x, row] = [0, row + 1];
    x += long;
    return { name, colour, row, x: x - long };
  });
}

/** The panes as they stand on screen, with their captions. */
function copyPanes(context, view) {
  const box = view.slots.planes.getBoundingClientRect();
  for (const { node, canvas, caption } of view.panes) {
    if (node.classList.contains("hidden")) continue;
    const place = canvas.getBoundingClientRect();
    const [x, y] = [place.left - box.left, place.top - box.top].map((length) => Math.round(length * dots()));
    context.drawImage(canvas, x, y);
    const [left, low] = [x + 12 * dots(), y + canvas.height - 14 * dots()];
    write(context, caption.textContent, left, low, "#9aa6ad", { size: 12, weight: 400, align: "left" });
  }
}

/** Everything as shown, with the warning and the persons burned in. */
function composePicture(view) {
  const scale = dots();
  const margin = 12 * scale;
  const [width, top] = [view.slots.planes.clientWidth * scale, view.slots.planes.clientHeight * scale];
  const canvas = element("canvas");
  const context = canvas.getContext("2d");
  const small = `400 ${12 * scale}px ${FONT}`;
  context.font = small;
  const lines = pictureWords(view).flatMap((text) => wrapText(context, text, width - 2 * margin));
  const labels = layLegend(context, view, width - 2 * margin);
  const rows = labels.length ? labels.at(-1).row + 1 : 0;
  const legend = view.mode === "difference" ? 34 * scale : rows * 20 * scale + (rows ? 6 * scale : 0);
  Object.assign(canvas, { width, height: Math.round(top + legend + (lines.length * 18 + 44) * scale) });
  context.fillStyle = "#000";
  context.fillRect(0, 0, canvas.width, canvas.height);
  canvas.ariaLabel = lines.join("\n");
  copyPanes(context, view);
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
  context.fillText(view.header.footer, margin, canvas.height - 14 * scale);
  return canvas;
}

/** Scans of a reader's own store are shown and not taken away. */
const mayKeep = (view) => view.header.pictures !== false;

function savePicture(view) {
  if (!mayKeep(view)) return;
  drawAll(view, false);
  view.picture = composePicture(view);
  const files = shownPeople(view).map(([, person]) => person.file ?? "scan");
  const link = element("a", { download: `${files.join("_")}.png` });
  link.href = view.picture.toDataURL("image/png");
  link.click();
  say(view, "Picture saved");
}
