// The body as a solid: the largest piece without crumbs, filled, with the flat face where a head's face was removed.

/** Codes from which a voxel is tissue, the share of the largest piece below which a piece is a crumb, rounds of smoothing. */
const [TISSUE, CRUMB, ROUNDS] = [33, 0.05, 2];

/** Mark in found whatever of inside (1 or 0) a chain of neighbours joins with start; the number of voxels. */
function flood(start, mark, found, inside, [nx, ny], stack) {
  const plane = nx * ny;
  let [top, size] = [1, 0];
  const visit = (next) => {
    if (!inside[next] || found[next]) return;
    found[next] = mark;
    stack[top++] = next;
  };
  stack[0] = start;
  found[start] = mark;
  while (top) {
    const at = stack[--top];
    size++;
    visit(at - 1);
    visit(at + 1);
    visit(at - nx);
    visit(at + nx);
    visit(at - plane);
    visit(at + plane);
  }
  return size;
}

/** 1 where a volume is tissue, without crumbs. */
function largestPieces(volume, shape) {
  const inside = volume.map((code) => (code >= TISSUE ? 1 : 0));
  const found = new Uint16Array(volume.length);
  const stack = new Int32Array(volume.length);
  const sizes = [0];
  for (let at = 0; at < volume.length && sizes.length < 65535; at++) {
    if (inside[at] && !found[at]) sizes.push(flood(at, sizes.length, found, inside, shape, stack));
  }
  const least = CRUMB * sizes.reduce((most, size) => Math.max(most, size));
  const kept = Uint8Array.from(sizes, (size) => (size >= least ? 1 : 0));
  kept[0] = 0;
  for (let at = 0; at < inside.length; at++) inside[at] = kept[found[at]];
  return inside;
}

/** Fill what no air from the grid's first corner reaches; a mask that reaches the corner is left. */
function fillHoles(mask, shape) {
  if (mask[0]) return mask;
  const air = mask.map((inside) => 1 - inside);
  const outside = new Uint8Array(mask.length);
  flood(0, 1, outside, air, shape, new Int32Array(mask.length));
  return outside.map((out) => 1 - out);
}

/** Fill each row along x between its ends: a head whose face is off has no concave side that counts. */
function fillRows(mask, [nx, ny, nz]) {
  for (let start = 0; start < nx * ny * nz; start += nx) {
    let [first, last] = [start, start + nx - 1];
    while (first < last && !mask[first]) first++;
    while (last > first && !mask[last]) last--;
    if (mask[first]) mask.fill(1, first, last + 1);
  }
  return mask;
}

/** 0 to 255, averaged with the neighbours along each axis. */
function blurred(field, shape, rounds) {
  let now = field;
  for (let round = 0; round < rounds; round++) {
    for (const step of strides(shape)) {
      const last = now;
      now = new Uint8Array(last.length);
      for (let at = step; at < last.length - step; at++) now[at] = (last[at - step] + last[at] + last[at + step]) / 3;
    }
  }
  return now;
}

/** How far a voxel lies along the normal of the cut, mm. */
const alongCut = ([nx, ny], spacing, normal) => {
  const [a, b, c] = normal.map((part, axis) => part * spacing[axis]);
  return (at) => a * (at % nx) + b * (Math.floor(at / nx) % ny) + c * Math.floor(at / (nx * ny));
};

/** Where a head's face was cut off: a plane of the given normal that no part of the head exceeds, and the middle of its face. */
function findCut(mask, { shape, spacing, cut: normal }) {
  const along = alongCut(shape, spacing, normal);
  // a bin a millimetre, 512 on either side of the grid's corner
  const bins = new Uint32Array(1024);
  for (let at = 0; at < mask.length; at++) if (mask[at]) bins[Math.round(along(at)) + 512]++;
  const far = bins.findLastIndex((count) => count > 40) - 512;
  const [sums, [nx, ny]] = [[0, 0, 0], shape];
  let count = 0;
  for (let at = 0; at < mask.length; at++) {
    if (!mask[at] || Math.abs(along(at) - far) > 3) continue;
    count++;
    sums[0] += at % nx;
    sums[1] += Math.floor(at / nx) % ny;
    sums[2] += Math.floor(at / (nx * ny));
  }
  return { normal, along, far, middle: sums.map((sum, axis) => (sum / Math.max(1, count)) * spacing[axis]) };
}

/** Mask, smooth field (128 at the skin) and cut of a body. */
function makeBody(volume, header) {
  const { shape } = header;
  const pieces = largestPieces(volume, shape);
  const mask = header.cut ? fillRows(fillHoles(pieces, shape), shape) : fillHoles(pieces, shape);
  const field = blurred(mask.map((inside) => 255 * inside), shape, ROUNDS);
  return { mask, field, cut: header.cut ? findCut(mask, header) : null };
}

/** Skin, but for the face of the cut. */
function cutTint({ normal, along, far }, colour) {
  const [a, b, c] = normal;
  return (at, x, y, z) => (a * x + b * y + c * z > 0.86 && far - along(at) < 8 ? CUT : colour);
}

/** "Face removed", on the cut face where the eye sees it. */
function nameCut(context, view, pane, camera) {
  if (!view.header.cut || view.preset !== "Skin") return;
  const { person } = layersOf(view, pane)[0];
  const { cut } = bodyField(view, person);
  const { forward, right, up } = cameraAxes(camera.azimuth, camera.elevation);
  const dot = (one, other) => one.reduce((sum, value, axis) => sum + value * other[axis], 0);
  if (dot(cut.normal, forward) > -0.25) return;
  const away = cut.middle.map((place, axis) => place - camera.centre[axis]);
  const { width, height } = context.canvas;
  const scale = height / (2 * camera.half);
  write(context, "face removed", width / 2 + dot(away, right) * scale, height / 2 - dot(away, up) * scale, "#fff", { size: 12 });
}
