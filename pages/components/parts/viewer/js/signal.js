// What is shown of a scan: a channel, or what follows from water and fat; its windows, values and colours.
// A signal has codes of 0 to 255 for every voxel, so that one table of 256 colours paints it.

/** Water + fat, of 510, below which a fat fraction is noise. */
const FAINT = 16;

/** Windows that fit what is shown, in codes; the first one is where a reader starts. */
const WINDOWS = {
  water: { Standard: [0, 115], Organs: [40, 100], Full: [0, 255] },
  fat: { Standard: [0, 205], "Low fat": [0, 80], Full: [0, 255] },
  inPhase: { Standard: [0, 200], Organs: [30, 120], Full: [0, 255] },
  fraction: { "0–100 %": [1, 255], "0–40 %": [1, 102.6], "0–20 %": [1, 51.8] },
  head: { Full: [0, 255], Brain: [55, 225], Soft: [0, 150] },
  other: { Full: [0, 255], Dark: [0, 128], Bright: [128, 255] },
};
const HEAD = /^(t1|t2|pd|flair)/i;

/** How codes read as numbers: greys of 0 to 1, or per cent with code 0 for "no signal". */
const GREY = {
  value: (code) => code / 255, step: 1 / 255, unit: "", digits: 2, ranges: [0.1, 0.25, 0.5, 1], range: 0.25,
};
const PERCENT = {
  value: (code) => (code - 1) / 2.54, step: 1 / 2.54, unit: " %", digits: 0, ranges: [5, 20, 50, 100], range: 20,
};

/** Everything a scene can show, the channels first. */
function signalsOf({ channels }) {
  const plain = channels.map((name, c) => ({
    ...GREY,
    name: name[0].toUpperCase() + name.slice(1),
    windows: WINDOWS[name] ?? (HEAD.test(name) ? WINDOWS.head : WINDOWS.other),
    codes: (person) => person[c],
    exact: (person, at) => person[c][at] / 255,
  }));
  const [w, f] = [channels.indexOf("water"), channels.indexOf("fat")];
  if (w < 0 || f < 0) return plain;
  const inPhase = {
    ...GREY,
    name: "In-phase",
    windows: WINDOWS.inPhase,
    codes: (person) => person[w].map((water, at) => Math.min(255, water + person[f][at])),
    exact: (person, at) => (person[w][at] + person[f][at]) / 255,
  };
  const fraction = (water, fat) => (water + fat < FAINT ? null : (100 * fat) / (water + fat));
  const fatFraction = {
    ...PERCENT,
    name: "Fat fraction",
    windows: WINDOWS.fraction,
    masked: true,
    codes: (person) => person[w].map((water, at) => {
      const share = fraction(water, person[f][at]);
      return share === null ? 0 : 1 + Math.round(share * 2.54);
    }),
    exact: (person, at) => fraction(person[w][at], person[f][at]),
  };
  return [...plain, inPhase, fatFraction];
}

/** The codes of one person in the phase shown, computed once. */
function codesOf(view, person, signal = view.signal) {
  const made = (view.made[person][phaseOf(view, person)] ??= []);
  return (made[signal] ??= view.signals[signal].codes(view.volumes[person]));
}

/** What tells body from air: in-phase where there is one, else the first channel. */
function bodyOf(view, person) {
  return codesOf(view, person, Math.max(0, view.signals.findIndex((signal) => signal.name === "In-phase")));
}

const startWindow = (signal) => Object.values(signal.windows)[0].slice();
const signalOf = (view) => view.signals[view.signal];

/** A number of the signal as a reader sees it; per cents of a voxel with one decimal. */
function inWords(signal, value, digits = signal.digits || 1) {
  return value === null ? "no signal" : `${value.toFixed(digits)}${signal.unit}`;
}

/** A size in words with its sign; a size that rounds to nothing has none. */
function signed(words, change) {
  if (!/[1-9]/.test(words)) return words;
  return `${change < 0 ? "−" : "+"}${words}`;
}

function windowInWords(view) {
  const signal = signalOf(view);
  if (view.mode === "difference") return `scale ${rangeInWords(signal, view.range)}`;
  const [low, high] = view.window.map((code) => signal.value(code).toFixed(signal.digits));
  return `window ${low} to ${high}${signal.unit}`;
}

const rangeInWords = (signal, range) => `±${range.toFixed(signal.digits)}${signal.unit}`;

/** Where a voxel lies in a flat volume. */
function flatIndex({ shape }, [i, j, k]) {
  const [sx, sy, sz] = strides(shape);
  return i * sx + j * sy + k * sz;
}

/** What stands under the crosshair: every number of one person, or one number of A and B and their difference. */
function readingInWords(view) {
  const at = flatIndex(view.header, view.cursor);
  const of = (signal, person) => signal.exact(view.volumes[person], at);
  const label = labelAt(view, at);
  if (!view.header.compare) {
    const many = view.signals.length > 1;
    const words = view.signals.map((s) => `${many ? s.name : "value"} ${inWords(s, of(s, view.shown))}`);
    return words.join("  ·  ") + label;
  }
  const signal = signalOf(view);
  const [a, b] = [of(signal, 0), of(signal, view.other)];
  const change = a === null || b === null ? "not defined" : signed(inWords(signal, Math.abs(b - a)), b - a);
  return `${signal.name}  A ${inWords(signal, a)}  ·  B ${inWords(signal, b)}  ·  B − A: ${change}${label}`;
}

function labelAt(view, at) {
  if (!view.labels || !view.overlay) return "";
  const name = (person) => view.header.legend.find(([value]) => value === view.labels[person][at])?.[1] ?? "none";
  const names = view.header.compare ? [name(0), name(view.other)] : [name(view.shown)];
  return `  ·  ${[...new Set(names)].join(" / ")}`;
}

/** 256 opaque greys for a window, as little-endian RGBA words. */
function greyTable([low, high]) {
  const table = new Uint32Array(256);
  for (let code = 0; code < 256; code++) {
    const grey = clamp(Math.round(((code - low) * 255) / Math.max(1, high - low)), 0, 255);
    table[code] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
  }
  return table;
}

const word = ([r, g, b]) => (0xff000000 | (Math.round(b) << 16) | (Math.round(g) << 8) | Math.round(r)) >>> 0;
const mixed = (one, other, share) => one.map((v, i) => v + (other[i] - v) * share);

/** Blue for less, orange for more, told apart by every reader; brighter is farther from no change, which is slate. */
const LESS = [[38, 45, 51], [22, 92, 150], [86, 180, 233], [208, 238, 255]];
const MORE = [[38, 45, 51], [150, 72, 8], [236, 148, 36], [255, 230, 176]];

/** The colour of a change, -1 to 1 of the scale's end. */
function changeColour(share) {
  const colours = share < 0 ? LESS : MORE;
  const place = clamp(Math.abs(share), 0, 1) * 3;
  const from = Math.min(2, Math.floor(place));
  return mixed(colours[from], colours[from + 1], place - from);
}

/** Colours of the differences of codes, -255 at 0 to 255 at 510. */
function changeTable(view) {
  const signal = signalOf(view);
  return Uint32Array.from({ length: 511 }, (_, i) => word(changeColour(((i - 255) * signal.step) / view.range)));
}

/** A function from a voxel's flat index to the colour of the change there; black where nothing can be compared. */
function changePainter(view, a, b) {
  const table = (view.tables.change ??= changeTable(view));
  const [codesA, codesB] = [codesOf(view, a), codesOf(view, b)];
  const [bodyA, bodyB] = [bodyOf(view, a), bodyOf(view, b)];
  if (signalOf(view).masked) {
    return (at) => (codesA[at] && codesB[at] ? table[255 + codesB[at] - codesA[at]] : 0xff000000);
  }
  return (at) => (bodyA[at] >= FAINT || bodyB[at] >= FAINT ? table[255 + codesB[at] - codesA[at]] : 0xff000000);
}

/** Red, green, blue of each label drawn, by value. */
function labelColours(view) {
  const colours = new Array(256);
  for (const [value, , colour] of view.header.legend) {
    if (!view.hidden.has(value)) colours[value] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  }
  return colours;
}

/** A function from a voxel's flat index to its grey, with the labels over it. */
function greyPainter(view, person) {
  const codes = codesOf(view, person);
  const greys = (view.tables.grey ??= greyTable(view.window));
  if (!view.labels || !view.overlay) return (at) => greys[codes[at]];
  const colours = (view.tables.labels ??= labelColours(view));
  const labels = view.labels[person];
  const keep = 1 - view.opacity;
  return (at) => {
    const colour = colours[labels[at]];
    const grey = greys[codes[at]];
    if (!colour) return grey;
    const [r, g, b] = colour;
    const base = (grey & 255) * keep;
    const { opacity } = view;
    return 0xff000000 | ((base + b * opacity) << 16) | ((base + g * opacity) << 8) | (base + r * opacity);
  };
}
