// A surface view without WebGL: one ray a pixel through the voxels, with an octant cut away at the crosshair.

/** Air is skipped in cubes of this many voxels. */
const BLOCK = 8;

/** The largest voxel of each cube, so that a ray can leap over air. */
function blockMaxima(volume, [nx, ny, nz]) {
  const [bx, by, bz] = [nx, ny, nz].map((n) => Math.ceil(n / BLOCK));
  const maxima = new Uint8Array(bx * by * bz);
  for (let z = 0, at = 0; z < nz; z++) {
    for (let y = 0; y < ny; y++) {
      const row = ((z >> 3) * by + (y >> 3)) * bx;
      for (let x = 0; x < nx; x++, at++) {
        if (volume[at] > maxima[row + (x >> 3)]) maxima[row + (x >> 3)] = volume[at];
      }
    }
  }
  return { maxima, bx, by };
}

/** Unit vectors of an orthographic camera: azimuth 0 looks the patient in the face. */
function cameraAxes(azimuth, elevation) {
  const [sa, ca, se, ce] = [Math.sin(azimuth), Math.cos(azimuth), Math.sin(elevation), Math.cos(elevation)];
  return { forward: [-ce * sa, -ce * ca, -se], right: [-ca, sa, 0], up: [-se * sa, -se * ca, ce] };
}

/** Linear interpolation in the volume at a voxel coordinate inside it. */
function trilinear(volume, nx, plane, x, y, z) {
  const i = x | 0;
  const j = y | 0;
  const k = z | 0;
  const u = x - i;
  const v = y - j;
  const w = z - k;
  const at = k * plane + j * nx + i;
  const edge = (o) => volume[o] + (volume[o + 1] - volume[o]) * u;
  const near = edge(at) * (1 - v) + edge(at + nx) * v;
  const far = edge(at + plane) * (1 - v) + edge(at + plane + nx) * v;
  return near + (far - near) * w;
}

/** Narrow span to the t at which origin + t * direction lies within the box; makes no object, a ray calls it twice. */
function clip(span, origin, direction, low, high) {
  let enter = -Infinity;
  let leave = Infinity;
  for (let a = 0; a < 3; a++) {
    const slope = direction[a];
    if (slope > -1e-9 && slope < 1e-9) {
      if (origin[a] < low[a] || origin[a] > high[a]) return false;
      continue;
    }
    const t0 = (low[a] - origin[a]) / slope;
    const t1 = (high[a] - origin[a]) / slope;
    enter = Math.max(enter, Math.min(t0, t1));
    leave = Math.min(leave, Math.max(t0, t1));
  }
  span[0] = enter;
  span[1] = leave;
  return leave > enter;
}

/** The octant in front of the crosshair, as seen from the camera. */
function cutBox(shape, cursor, forward) {
  const low = shape.map((_, a) => (forward[a] > 0 ? -1 : cursor[a]));
  const high = shape.map((n, a) => (forward[a] > 0 ? cursor[a] : n + 1));
  return { low, high };
}

/** How far until the ray leaves its cube. */
function leap(o, d, t) {
  let far = Infinity;
  for (let a = 0; a < 3; a++) {
    if (Math.abs(d[a]) < 1e-9) continue;
    const p = o[a] + d[a] * t;
    const wall = (Math.floor(p / BLOCK) + (d[a] > 0 ? 1 : 0)) * BLOCK;
    far = Math.min(far, (wall - p) / d[a]);
  }
  return Math.max(far, 0) + 0.05;
}

/** Linear interpolation that stays inside the volume. */
function sampler(volume, [nx, ny, nz]) {
  return (x, y, z) =>
    trilinear(volume, nx, nx * ny, clamp(x, 1, nx - 2), clamp(y, 1, ny - 2), clamp(z, 1, nz - 2));
}

/** The camera on a view's body: what it looks at in mm, and half the height of a picture (wide, high) that holds all of it. */
function cameraOf(view, wide, high) {
  const { box, header, azimuth, elevation, zoom } = view;
  const [x, y, z] = boxExtent(view);
  const centre = box.map(([low, most], axis) => ((low + most) / 2) * header.spacing[axis]);
  const girth = Math.hypot(x, y);
  const tall = z * Math.cos(elevation) + girth * Math.abs(Math.sin(elevation));
  return { azimuth, elevation, centre, half: (0.52 * Math.max(tall, (girth * high) / wide)) / zoom };
}

/** Call cast(o, d, forward) for each pixel of columns from..to of a picture (wide, high), and store the colour it returns. */
function castAll(pixels, [wide, high], [from, to], { azimuth, elevation, centre, half }, shape, spacing, cast) {
  const { forward, right, up } = cameraAxes(azimuth, elevation);
  const extent = shape.map((n, a) => n * spacing[a]);
  const away = 2 * Math.hypot(...extent);
  // t counts the finest voxels
  const fine = Math.min(...spacing);
  const d = forward.map((f, a) => (f * fine) / spacing[a]);
  const o = [0, 0, 0];
  for (let row = 0; row < high; row++) {
    const v = (1 - (2 * row + 1) / high) * half;
    for (let column = from; column < to; column++) {
      const u = ((2 * column + 1 - wide) / high) * half;
      for (let a = 0; a < 3; a++) {
        o[a] = (centre[a] + right[a] * u + up[a] * v - forward[a] * away) / spacing[a];
      }
      pixels[row * wide + column] = cast(o, d, forward);
    }
  }
}

/** A function that draws the brightest voxel along each ray, in the colours of a table. */
function createProjector(volume, shape, spacing) {
  const { maxima, bx, by } = blockMaxima(volume, shape);
  const sample = sampler(volume, shape);
  const inner = shape.map((n) => n - 2);
  const span = new Float64Array(2);
  return function render(pixels, sizes, columns, camera, _cut, _face, greys) {
    castAll(pixels, sizes, columns, camera, shape, spacing, (o, d) => {
      if (!clip(span, o, d, [1, 1, 1], inner)) return 0;
      let best = 0;
      for (let t = span[0]; t < span[1]; ) {
        const [x, y, z] = [o[0] + d[0] * t, o[1] + d[1] * t, o[2] + d[2] * t];
        if (maxima[((z >> 3) * by + (y >> 3)) * bx + (x >> 3)] <= best) {
          t += leap(o, d, t);
          continue;
        }
        best = Math.max(best, sample(x, y, z));
        t += 1;
      }
      return greys[best | 0];
    });
  };
}

/**
 * A function that draws a volume as a surface lit from the eye, in the colour tint(flat index, outward normal); the faces of the
 * cut, and of the field of view, show face(x, y, z) wherever the mask says body.
 */
function createRaycaster(volume, mask, shape, spacing, threshold, tint) {
  const [nx, ny, nz] = shape;
  const plane = nx * ny;
  const inner = shape.map((n) => n - 2);
  const { maxima, bx, by } = blockMaxima(volume, shape);
  const sample = sampler(volume, shape);

  /** The first t in [t, end) whose voxel reaches the threshold, or -1. */
  function march(o, d, t, end) {
    while (t < end) {
      const x = (o[0] + d[0] * t) | 0;
      const y = (o[1] + d[1] * t) | 0;
      const z = (o[2] + d[2] * t) | 0;
      if (maxima[((z >> 3) * by + (y >> 3)) * bx + (x >> 3)] < threshold) {
        t += leap(o, d, t);
        continue;
      }
      if (volume[z * plane + y * nx + x] >= threshold) return t;
      t += 0.7;
    }
    return -1;
  }

  /** The colour of the surface near t: bisect to the threshold, then light it by the gradient. */
  function shade(o, d, forward, t) {
    let before = t - 1;
    let after = t;
    for (let i = 0; i < 4; i++) {
      const m = (before + after) / 2;
      if (sample(o[0] + d[0] * m, o[1] + d[1] * m, o[2] + d[2] * m) >= threshold) after = m;
      else before = m;
    }
    const x = o[0] + d[0] * after;
    const y = o[1] + d[1] * after;
    const z = o[2] + d[2] * after;
    const gx = (sample(x - 1.5, y, z) - sample(x + 1.5, y, z)) / spacing[0];
    const gy = (sample(x, y - 1.5, z) - sample(x, y + 1.5, z)) / spacing[1];
    const gz = (sample(x, y, z - 1.5) - sample(x, y, z + 1.5)) / spacing[2];
    const length = Math.sqrt(gx * gx + gy * gy + gz * gz) || 1;
    const facing = -(gx * forward[0] + gy * forward[1] + gz * forward[2]) / length;
    const light = 0.22 + 0.78 * clamp(facing, 0, 1);
    const at = Math.round(z) * plane + Math.round(y) * nx + Math.round(x);
    const [r, g, b] = tint(at, gx / length, gy / length, gz / length);
    return 0xff000000 | ((light * b) << 16) | ((light * g) << 8) | (light * r);
  }

  const outermost = [1, 1, 1];
  const [span, hole] = [new Float64Array(2), new Float64Array(2)];

  /** The colour a ray ends in: the surface, a face of the cut, or nothing. */
  function castRay(o, d, forward, cut, face) {
    if (!clip(span, o, d, outermost, inner)) return 0;
    const enter = span[0];
    const leave = span[1];
    const open = cut && clip(hole, o, d, cut.low, cut.high) && hole[1] > enter && hole[0] < leave;
    const hit = march(o, d, enter, open ? hole[0] : leave);
    // the field of view ends here
    const atEdge = hit >= 0 && hit < enter + 0.7;
    if (atEdge) return face(o[0] + d[0] * hit, o[1] + d[1] * hit, o[2] + d[2] * hit);
    if (hit >= 0) return shade(o, d, forward, hit);
    if (!open || hole[1] >= leave) return 0;
    const t = hole[1];
    const x = o[0] + d[0] * t;
    const y = o[1] + d[1] * t;
    const z = o[2] + d[2] * t;
    if (mask[(z | 0) * plane + (y | 0) * nx + (x | 0)]) return face(x, y, z);
    const behind = march(o, d, t, leave);
    return behind < 0 ? 0 : shade(o, d, forward, behind);
  }

  /** Fill columns of a picture of RGBA words; transparent where a ray meets nothing. */
  return function render(pixels, sizes, columns, camera, cursor, face) {
    const cut = cursor && cutBox(shape, cursor, cameraAxes(camera.azimuth, camera.elevation).forward);
    castAll(pixels, sizes, columns, camera, shape, spacing, (o, d, forward) => castRay(o, d, forward, cut, face));
  };
}
