// The 3D view: what is seen as a surface, in which colour, and how finely it is drawn.

/** Surfaces of a scan by name: volume of person, the code at which it begins, its colour. */
const SKIN = { of: (view, person) => bodyField(view, person).field, threshold: 128, colour: [214, 190, 170], skin: true };
/** The flat face where a head's face was removed: no skin. */
const CUT = [122, 134, 146];
const LEAN = { of: channel("water"), threshold: 52, colour: [214, 122, 106] };
const FAT = { of: channel("fat"), threshold: 84, colour: [235, 205, 130] };

function channel(name) {
  return (view, person) => view.volumes[person][view.header.channels.indexOf(name)];
}

/** The presets that fit a scene, the one for the start first. A cine is a slab of the body, which has no skin. */
function surfacesOf({ header }) {
  const dixon = header.channels.includes("water") && header.channels.includes("fat");
  return {
    ...(header.phases.some((phases) => phases > 1) ? {} : { Skin: SKIN }),
    ...(dixon ? { "Lean tissue": LEAN, "Fat tissue": FAT } : {}),
    ...(header.labelled ? { "Label surfaces": LABELS } : {}),
    Projection: null,
  };
}

/** 255 where a label is drawn, blurred over three voxels along each axis, so that its surface has no steps. */
function labelMask(view, person) {
  const colours = labelColours(view);
  let mask = view.labels[person].map((value) => (colours[value] ? 255 : 0));
  for (const stride of strides(view.header.shape)) {
    mask = mask.map((value, at) => ((mask[at - stride] ?? 0) + value + (mask[at + stride] ?? 0)) / 3);
  }
  return mask;
}

/** Steps to a voxel's neighbours, itself first, the nearest next. */
function neighbours(shape) {
  const [sx, sy, sz] = strides(shape);
  const steps = [-1, 0, 1].flatMap((x) => [-1, 0, 1].flatMap((y) => [-1, 0, 1].map((z) => [x, y, z])));
  return steps.sort((a, b) => Math.hypot(...a) - Math.hypot(...b)).map(([x, y, z]) => x * sx + y * sy + z * sz);
}

const LABELS = { of: labelMask, threshold: 128, labelled: true };

/** Do colours on screen stand for labels: on the planes, or as surfaces? */
const coloursShown = (view) => view.labels && (view.overlay || view.surfaces[view.preset]?.labelled);

/** The renderer of one person for the preset chosen, made once; see createRaycaster. */
function rendererOf(view, person) {
  const { shape, spacing } = view.header;
  const surface = view.surfaces[view.preset];
  const signal = surface ? "" : view.signal;
  const phase = surface && !surface.labelled ? 0 : phaseOf(view, person);
  const key = [view.preset, person, phase, signal, surface?.labelled ? [...view.hidden] : ""].join();
  if (view.renderers[key]) return view.renderers[key];
  if (!surface) return (view.renderers[key] = createProjector(codesOf(view, person), shape, spacing));
  const [volume, mask, tint] = [surface.of(view, person), maskOf(view, person), tintOf(view, person, surface)];
  return (view.renderers[key] = createRaycaster(volume, mask, shape, spacing, surface.threshold, tint));
}

/** The body of a person once it was made: its mask, the field around it, and where its face was cut off; see body.js. */
const bodyField = (view, person) =>
  (view.bodies[person] ??= makeBody(bodyOf(view, person), view.header));

const maskOf = (view, person) => bodyField(view, person).mask;

function tintOf(view, person, surface) {
  if (surface.skin && view.header.cut) return cutTint(bodyField(view, person).cut, surface.colour);
  if (!surface.labelled) return () => surface.colour;
  const colours = labelColours(view);
  const labels = view.labels[person];
  const around = neighbours(view.header.shape);
  return (at) => colours[labels[at + (around.find((step) => colours[labels[at + step]]) ?? 0)]] ?? SKIN.colour;
}

/** The colour on a face of the cut, as on the planes. */
function faceOf(view, person, less) {
  const { shape } = view.header;
  if (less === undefined && !(view.labels && view.overlay)) {
    const sample = sampler(codesOf(view, person), shape);
    const greys = (view.tables.grey ??= greyTable(view.window));
    return (x, y, z) => greys[sample(x, y, z) | 0];
  }
  const paint = less === undefined ? greyPainter(view, person) : changePainter(view, person, less);
  const [sx, sy, sz] = strides(shape);
  return (x, y, z) => paint((x | 0) * sx + (y | 0) * sy + (z | 0) * sz);
}

/** Everything a pane's fine 3D view depends on. */
function surfaceKey(view, { canvas }) {
  const names = ["fingerprint", "mode", "shown", "other", "share", "wipe", "preset", "signal", "azimuth", "elevation", "zoom",
    "window", "range", "overlay", "opacity"];
  const cut = view.cutaway && view.surfaces[view.preset] ? view.cursor : null;
  const { clientWidth, clientHeight } = canvas;
  return JSON.stringify([...names.map((name) => view[name]), [...view.hidden], cut, clientWidth, clientHeight, dots()]);
}

/** Dots across and down in which a 3D view is computed: coarse while it moves, fine at rest, finer for a picture. */
function bufferSizes(view, { width, height }, coarse) {
  const fine = magnified ? 1000 : 384;
  const side = coarse ? view.coarse : fine;
  const scale = Math.min(side / Math.sqrt(width * height), 1);
  return [width, height].map((length) => Math.max(1, Math.round(length * scale)));
}

/** Draw a pane's 3D view; coarse while something moves, as coarse as this machine needs. */
function drawSurface(view, pane, coarse) {
  if (pane.node.classList.contains("hidden")) return;
  const began = performance.now();
  const { canvas, buffer } = pane;
  const drawn = surfaceKey(view, pane);
  if (pane.drawn === drawn) return;
  pane.drawn = coarse ? null : drawn;
  const context = prepare(canvas);
  const sizes = bufferSizes(view, canvas, coarse);
  const [wide, high] = sizes;
  Object.assign(buffer, { width: wide, height: high });
  const image = buffer.getContext("2d").createImageData(wide, high);
  const pixels = new Uint32Array(image.data.buffer);
  const camera = cameraOf(view, wide, high);
  const cut = view.cutaway && view.surfaces[view.preset] ? view.cursor : null;
  const greys = (view.tables.grey ??= greyTable(view.window));
  for (const { person, less, from, to } of layersOf(view, pane)) {
    const columns = [Math.round(from * wide), Math.round(to * wide)];
    const face = faceOf(view, person, less);
    rendererOf(view, less ?? person)(pixels, sizes, columns, camera, cut, face, greys);
  }
  buffer.getContext("2d").putImageData(image, 0, 0);
  context.imageSmoothingQuality = "high";
  const fit = { left: 0, top: 0, width: canvas.width, height: canvas.height };
  context.drawImage(buffer, 0, 0, canvas.width, canvas.height);
  pane.fit = fit;
  nameCut(context, view, pane, camera);
  drawDivider(context, view, fit);
  drawNames(context, view, pane, fit);
  if (coarse) pace(view, (performance.now() - began) * (view.mode === "side" ? 2 : 1));
  placeCaption(context, pane, view.preset);
  pane.caption.textContent = view.preset;
  const opened = cut ? ", cut open at the crosshair" : "";
  canvas.setAttribute("aria-label", `${view.preset} in 3D${opened}. Arrow keys turn it.`);
}

/** Draw the moving 3D view more coarsely on a slow machine, more finely on a fast one: about 7 ms. */
function pace(view, milliseconds) {
  if (milliseconds > 9) view.coarse = Math.max(56, view.coarse * 0.85);
  else if (milliseconds < 5) view.coarse = Math.min(160, view.coarse * 1.1);
}
