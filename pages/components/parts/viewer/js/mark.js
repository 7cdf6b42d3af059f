// The place a reader marks. It is the only thing a viewer ever sends, and only when the reader asks for it.

const MARK = "#ff9d6e";
/** Slices beside the marked one in which the mark is still hinted at. */
const NEAR = 3;

SHORTCUTS.push({ keys: "A", words: "mark this place, in a review", when: (view) => view.marking, act: markHere });
ADDED.scene.push((view) => takeMark(view, view.marking));
ADDED.plane.push(drawMark);
ADDED.lower.push(buildMark);
ADDED.readout.push((view) => view.mark && `marked ${placeInWords(view, view.mark)}`);

function showWithMark({ data, parentElement, setTriggerValue }) {
  const [packed, marking] = unwrap(data);
  const root = parentElement.querySelector(".viewer");
  const view = (root.somatwin ??= createView(root));
  view.send = (mark) => setTriggerValue("mark", mark);
  if (view.fingerprint === fingerprint(packed) && view.told !== JSON.stringify(marking)) {
    takeMark(view, marking);
    update(view, {});
  }
  view.marking = marking;
  show({ data: packed, parentElement });
}

/** A scene in which a place can be marked begins with "MARK", u32 length, JSON; written by marking_viewer() in viewer.py. */
function unwrap(bytes) {
  if (String.fromCharCode(...bytes.subarray(0, 4)) !== "MARK") return [bytes, null];
  const end = 8 + new DataView(bytes.buffer, bytes.byteOffset + 4, 4).getUint32(0, true);
  return [bytes.subarray(end), JSON.parse(new TextDecoder().decode(bytes.subarray(8, end)))];
}

/** Take over what the server knows of the mark; a mark made here stays until the server says otherwise. */
function takeMark(view, marking) {
  const { affine, spacing, shape } = view.header;
  const index = marking?.mark?.map((mm, axis) => Math.round((mm - affine[axis][3]) / spacing[axis]));
  const mark = index?.every((i, axis) => i >= 0 && i < shape[axis]) ? index : null;
  view.root.classList.toggle("marking", marking);
  Object.assign(view, { marking, mark, told: JSON.stringify(marking) });
}

function sendMark(view, mark) {
  update(view, { mark });
  view.send({ scene: view.fingerprint, voxel: mark, place: mark && toMillimetres(view.header.affine, mark) });
  say(view, mark ? `Marked ${placeInWords(view)}` : "Mark removed");
}

function markHere(view) {
  sendMark(view, [...view.cursor]);
}

/** Buttons for the mark; none where nothing can be marked. */
function buildMark(view) {
  if (!view.marking) return "";
  const plain = (label, title, onclick) => element("button", { type: "button", title, onclick }, label);
  const more = !view.mark ? [] : [
    plain("Go to mark", placeInWords(view, view.mark), () => moveTo(view, [...view.mark])),
    plain("Remove mark", "", () => sendMark(view, null)),
  ];
  return group("Mark", plain("Mark this place", "Note the crosshair's place (A)", () => markHere(view)), ...more);
}

/** A ring around the marked voxel, dashed in the slices beside it. */
function drawMark(view, context, plane, fit) {
  if (!view.mark) return;
  const away = Math.abs(view.mark[plane.through] - view.cursor[plane.through]);
  if (away > NEAR) return;
  const [x, y] = onCanvas(view, plane, fit, view.mark.map((index) => index + 0.5));
  context.strokeStyle = MARK;
  context.lineWidth = 2 * dots();
  context.setLineDash(away ? [4, 4] : []);
  context.beginPath();
  context.arc(x, y, 10 * dots(), 0, 7);
  context.stroke();
  context.setLineDash([]);
}
