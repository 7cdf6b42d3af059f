// The payload, and the geometry of the three planes.

/** The planes by voxel axis (0 x, 1 y, 2 z): what runs across the screen, what runs up, what scrolls. */
const PLANES = [{ across: 0, up: 1, through: 2 }, { across: 0, up: 2, through: 1 }, { across: 1, up: 2, through: 0 }];
const planeName = (view, plane) => view.header.planes[PLANES.indexOf(plane)];

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/**
 * gzip(u32 header length, JSON header, uint8 volumes with x fastest); written by payload() in state/scene.py.
 * cycles[person][phase] with one volume a channel, and marks[person][phase], labels, where there are any.
 */
async function unpack(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const raw = await new Response(stream).arrayBuffer();
  const headerLength = new DataView(raw).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(raw, 4, headerLength)));
  const voxels = header.shape[0] * header.shape[1] * header.shape[2];
  let start = 4 + headerLength - voxels;
  const next = () => new Uint8Array(raw, (start += voxels), voxels);
  const phases = (person) => Array.from({ length: header.phases[person] }, next);
  const cycles = header.people.map((_, person) => {
    const channels = header.channels.map(() => phases(person));
    return channels[0].map((_, phase) => channels.map((channel) => channel[phase]));
  });
  return { header, cycles, marks: header.labelled && header.people.map((_, person) => phases(person)) };
}

/** The phase in which a person is shown: all are at the same share of their cycle; a still scan has one. */
const phaseOf = ({ cycles, share }, person) => Math.round(share * cycles[person].length) % cycles[person].length;

/** Show everybody at a share of the cycle: volumes[person][channel], labels[person]. */
function showPhase(view, share) {
  view.share = share;
  const now = (frames, person) => frames[phaseOf(view, person)];
  view.volumes = view.cycles.map(now);
  view.labels = view.marks && view.marks.map(now);
}

/** The CRC-32 that closes a gzip stream, in hex: the same scene always has the same one. */
function fingerprint(bytes) {
  const tail = new DataView(bytes.buffer, bytes.byteOffset + bytes.byteLength - 8, 4);
  return tail.getUint32(0, true).toString(16).padStart(8, "0");
}

/** Steps in a flat volume from one voxel to the next along x, y and z. */
const strides = ([nx, ny]) => [1, nx, nx * ny];

/** Where a voxel index lies in the patient, in RAS+ mm. */
function toMillimetres(affine, [i, j, k]) {
  return [0, 1, 2].map((row) => affine[row][0] * i + affine[row][1] * j + affine[row][2] * k + affine[row][3]);
}

/** Where a reader starts: at the patient's origin, in a head the brain's centroid, or in the middle. */
function startCursor({ affine, spacing, shape }) {
  const origin = shape.map((_, axis) => Math.round(-affine[axis][3] / spacing[axis]));
  const inside = origin.every((index, axis) => index >= 0 && index < shape[axis]);
  return inside ? origin : shape.map((n) => n >> 1);
}

/** Is the plane drawn with its low end on the right of the screen? Radiologists face the patient. */
const mirrored = (view) => view.radiological;

/** The letters at the left, right, top and bottom of a plane. */
function edgeLetters(view, plane) {
  const [low, high] = view.header.ends[plane.across];
  const [bottom, top] = view.header.ends[plane.up];
  return mirrored(view) ? { left: high, right: low, top, bottom } : { left: low, right: high, top, bottom };
}

/** Codes above which a voxel counts for the box, the share of a slab that must be, and the margin around them in voxels. */
const [SEEN, SHARE, MARGIN] = [20, 0.004, 2];

/** The voxels from which to which along each axis a body reaches, in any of the volumes; all of them where there is none. */
function bodyBox(volumes, shape) {
  const [nx, ny, nz] = shape;
  const counts = shape.map((n) => new Uint32Array(n));
  for (const volume of volumes) {
    for (let z = 0, at = 0; z < nz; z++) {
      for (let y = 0; y < ny; y++) {
        for (let x = 0; x < nx; x++, at++) {
          if (volume[at] > SEEN) (counts[0][x]++, counts[1][y]++, counts[2][z]++);
        }
      }
    }
  }
  const voxels = nx * ny * nz * volumes.length;
  return counts.map((count, axis) => {
    const n = shape[axis];
    const full = (c) => c > (SHARE * voxels) / n;
    const first = count.findIndex(full);
    if (first < 0) return [0, n];
    return [Math.max(0, first - MARGIN), Math.min(n, count.findLastIndex(full) + 1 + MARGIN)];
  });
}

/** The lengths of the box in mm. */
const boxExtent = ({ box, header }) => box.map(([low, high], axis) => (high - low) * header.spacing[axis]);

/** The rectangle of a canvas that a whole plane covers, in canvas pixels, its millimetres square: the body's box fits in. */
function fitPlane(canvas, view, plane) {
  const { shape, spacing } = view.header;
  const [across, up] = [plane.across, plane.up];
  const extent = boxExtent(view);
  const scale = Math.min(canvas.width / extent[across], canvas.height / extent[up]);
  const [width, height] = [shape[across] * spacing[across] * scale, shape[up] * spacing[up] * scale];
  const middle = (axis) => (view.box[axis][0] + view.box[axis][1]) / 2 / shape[axis];
  const share = mirrored(view) ? 1 - middle(across) : middle(across);
  return {
    left: canvas.width / 2 - share * width, top: canvas.height / 2 - (1 - middle(up)) * height, width, height,
  };
}

/** The point, in voxels from the low corner of the grid, at fractions u (rightwards) and v (downwards) of a plane. */
function pointAt(view, plane, u, v) {
  const { shape } = view.header;
  const point = view.cursor.map((index) => index + 0.5);
  point[plane.across] = clamp(mirrored(view) ? 1 - u : u, 0, 1) * shape[plane.across];
  point[plane.up] = clamp(1 - v, 0, 1) * shape[plane.up];
  return point;
}

/** Where a point lies on a canvas that the plane was fitted to. */
function onCanvas(view, plane, fit, point) {
  const { shape } = view.header;
  const across = point[plane.across] / shape[plane.across];
  const up = point[plane.up] / shape[plane.up];
  return [fit.left + fit.width * (mirrored(view) ? 1 - across : across), fit.top + fit.height * (1 - up)];
}

/** The voxel that holds a point. */
const voxelOf = ({ shape }, point) => point.map((p, axis) => clamp(Math.floor(p), 0, shape[axis] - 1));

/** Millimetres between two points. */
function distance({ spacing }, one, other) {
  return Math.hypot(...spacing.map((mm, axis) => (one[axis] - other[axis]) * mm));
}

/** The place of a voxel, at first of the crosshair, in words, RAS+ mm. */
function placeInWords(view, voxel = view.cursor) {
  const side = (value, [low, high]) => `${value < 0 ? low : high} ${Math.abs(value).toFixed(0)}`;
  return `${toMillimetres(view.header.affine, voxel).map((v, axis) => side(v, view.header.ends[axis])).join("  ")} mm`;
}
