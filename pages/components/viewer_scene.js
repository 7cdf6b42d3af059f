// The payload, and the geometry of the three planes.

/** The planes by voxel axis (0 x, 1 y, 2 z): what runs across the screen, what runs up, what scrolls. */
const PLANES = [
  { name: "Axial", across: 0, up: 1, through: 2 },
  { name: "Coronal", across: 0, up: 2, through: 1 },
  { name: "Sagittal", across: 1, up: 2, through: 0 },
];
/** Letters at the low and the high end of each axis of a RAS+ volume. */
const ENDS = [["L", "R"], ["P", "A"], ["I", "S"]];

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/** gzip(u32 header length, JSON header, one uint8 volume a person, x fastest); written by payload() in viewer.py. */
async function unpack(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const raw = await new Response(stream).arrayBuffer();
  const headerLength = new DataView(raw).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(raw, 4, headerLength)));
  const voxels = header.shape[0] * header.shape[1] * header.shape[2];
  const volumes = header.people.map((_, i) => new Uint8Array(raw, 4 + headerLength + i * voxels, voxels));
  return { header, volumes };
}

/** The CRC-32 that closes a gzip stream, in hex: the same scene always has the same one. */
function fingerprint(bytes) {
  const tail = new DataView(bytes.buffer, bytes.byteOffset + bytes.byteLength - 8, 4);
  return tail.getUint32(0, true).toString(16).padStart(8, "0");
}

/** Steps in a flat volume from one voxel to the next along x, y and z. */
const strides = ([nx, ny]) => [1, nx, nx * ny];

function voxelAt(view, [i, j, k]) {
  const [sx, sy, sz] = strides(view.header.shape);
  return view.volumes[view.shown][i * sx + j * sy + k * sz];
}

/** Where a voxel index lies in the patient, in RAS+ mm. */
function toMillimetres(affine, [i, j, k]) {
  return [0, 1, 2].map((row) => affine[row][0] * i + affine[row][1] * j + affine[row][2] * k + affine[row][3]);
}

/** Where a reader starts: at the patient's origin, which in a head is the brain's centroid, or in the middle when it lies outside. */
function startCursor({ affine, spacing, shape }) {
  const origin = shape.map((_, axis) => Math.round(-affine[axis][3] / spacing[axis]));
  const inside = origin.every((index, axis) => index >= 0 && index < shape[axis]);
  return inside ? origin : shape.map((n) => n >> 1);
}

/** Is the plane drawn with its low end on the right of the screen? Radiologists face the patient. */
const mirrored = (view) => view.radiological;

/** The letters at the left, right, top and bottom of a plane. */
function edgeLetters(view, plane) {
  const [low, high] = ENDS[plane.across];
  const [bottom, top] = ENDS[plane.up];
  return mirrored(view) ? { left: high, right: low, top, bottom } : { left: low, right: high, top, bottom };
}

/** 256 opaque greys for the current window, as little-endian RGBA words. */
function greyTable([low, high]) {
  const table = new Uint32Array(256);
  for (let value = 0; value < 256; value++) {
    const grey = clamp(Math.round(((value - low) * 255) / Math.max(1, high - low)), 0, 255);
    table[value] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
  }
  return table;
}

/** Paint one slice, a pixel a voxel, into a canvas of the slice's own size. */
function paintSlice(canvas, view, plane, volume, index, greys) {
  const { shape } = view.header;
  const step = strides(shape);
  const [width, height] = [shape[plane.across], shape[plane.up]];
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  const flip = mirrored(view);
  for (let row = 0; row < height; row++) {
    const start = index * step[plane.through] + (height - 1 - row) * step[plane.up];
    for (let column = 0; column < width; column++) {
      const across = flip ? width - 1 - column : column;
      pixels[row * width + column] = greys[volume[start + across * step[plane.across]]];
    }
  }
  context.putImageData(image, 0, 0);
}

/** The rectangle of a canvas that a plane fills, in canvas pixels, its millimetres square. */
function fitPlane(canvas, view, plane) {
  const { shape, spacing } = view.header;
  const [width, height] = [shape[plane.across] * spacing[plane.across], shape[plane.up] * spacing[plane.up]];
  const scale = Math.min(canvas.width / width, canvas.height / height);
  const [w, h] = [width * scale, height * scale];
  return { left: (canvas.width - w) / 2, top: (canvas.height - h) / 2, width: w, height: h };
}

/** The voxel under a point of a plane, the point in fractions of the fitted rectangle. */
function pick(view, plane, u, v) {
  const { shape } = view.header;
  const across = mirrored(view) ? 1 - u : u;
  const cursor = view.cursor.slice();
  cursor[plane.across] = clamp(Math.floor(across * shape[plane.across]), 0, shape[plane.across] - 1);
  cursor[plane.up] = clamp(Math.floor((1 - v) * shape[plane.up]), 0, shape[plane.up] - 1);
  return cursor;
}
