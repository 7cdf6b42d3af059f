// The cycle of a cine: played at the heart's own rate, or a phase of it chosen. Two persons beat together, each at the same share
// of their own cycle.

/** How fast it is played; 1 is the heart's own rate. Seconds of a cycle whose length nobody knows. */
const [SPEEDS, UNKNOWN] = [[0.25, 0.5, 1, 2], 1];

SHORTCUTS.push(
  { keys: "Space", words: "play the heart's cycle, or pause", when: beats },
  { keys: "< >", words: "the phase before or after", when: beats, act: (view, key) => stepPhase(view, key === "<" ? -1 : 1) },
  { keys: "Q", words: "end-diastole, then end-systole", when: beats, act: nextEnd },
  { keys: "C", words: "next speed of the cycle", when: beats, act: (view) => setSpeed(view, after(SPEEDS, view.speed)) },
);
ADDED.scene.push(newCycle);
ADDED.readout.push((view) => !view.playing && phaseInWords(view));
ADDED.picture.push(phaseInWords);

/** Whose cycle the slider counts: the person shown, of two compared A. */
const leader = (view) => (view.header.compare ? 0 : view.shown);
const phasesOf = (view) => view.cycles[leader(view)].length;
const secondsOf = (view, person = leader(view)) => view.header.cycles[person] ?? UNKNOWN;

function beats(view) {
  return phasesOf(view) > 1;
}

/** The row of controls of a scene that has come, where anything moves; it plays by itself unless the reader wants no motion. */
function newCycle(view) {
  view.cycle ??= createCycle(view);
  const moving = beats(view);
  view.cycle.hidden = !moving;
  view.root.classList.toggle("beating", moving);
  stopPlaying(view);
  if (!moving) return;
  view.speed ??= 1;
  view.still ??= matchMedia("(prefers-reduced-motion: reduce)").matches;
  buildCycle(view);
  if (!view.still) play(view);
}

function createCycle(view) {
  const row = element("div", { class: "toolbar cycle", role: "toolbar", "aria-label": "Cycle of the heart", hidden: "" });
  view.slots.planes.after(row);
  const play = (event) => {
    if (event.key !== " " || !view.header || !beats(view) || event.target.closest("button, select")) return;
    event.preventDefault();
    event.stopPropagation();
    togglePlay(view);
  };
  view.root.addEventListener("keydown", play);
  // of a reader who has clicked nowhere yet, and sees the heart
  document.addEventListener("keydown", (event) => event.target === document.body && inSight(view.root) && play(event));
  return row;
}

function inSight(root) {
  const { top, bottom } = root.getBoundingClientRect();
  return root.isConnected && bottom > 0 && top < innerHeight;
}

function buildCycle(view) {
  const { es } = view.header.people[leader(view)];
  const jump = (label, phase) => element("button", { type: "button", title: `Go to ${label.toLowerCase()} (Q)`, onclick: () => choosePhase(view, phase) }, label);
  const rate = `1 × is ${Math.round(60 / secondsOf(view))} beats a minute${view.header.cycles[leader(view)] ? "" : ", assumed"} (C)`;
  const option = (speed) => element("option", { value: speed, selected: speed === view.speed ? "" : undefined }, `${speed} ×`);
  const slide = (event) => choosePhase(view, Number(event.target.value));
  view.cycle.replaceChildren(
    quietButton("Play cycle", "Play the heart's cycle (Space)", () => togglePlay(view)),
    element("label", {}, "Phase", element("input", { type: "range", min: 0, max: phasesOf(view) - 1, "aria-label": "Phase of the cycle", oninput: slide })),
    element("span", { class: "moment" }),
    group("Go to", jump("End-diastole", 0), es === undefined ? "" : jump("End-systole", es)),
    element("label", {}, "Speed", element("select", { "aria-label": "Speed of the cycle", title: rate, onchange: (event) => setSpeed(view, Number(event.target.value)) }, ...SPEEDS.map(option))));
  tellPhase(view);
}

/** Bring the controls up to what is shown. */
function tellPhase(view) {
  const [button, input, output, select] = ["button", "input", ".moment", "select"].map((tag) => view.cycle.querySelector(tag));
  const words = phaseInWords(view);
  Object.assign(input, { value: phaseOf(view, leader(view)), ariaValueText: words });
  if (output.textContent !== words) output.textContent = words;
  button.textContent = view.playing ? "Pause cycle" : "Play cycle";
  button.setAttribute("aria-pressed", String(Boolean(view.playing)));
  select.value = view.speed;
}

/** The phase shown and its time in the cycle, of two compared of each. */
function phaseInWords(view) {
  if (!beats(view)) return "";
  const of = (person) => {
    const [phase, count] = [phaseOf(view, person), view.cycles[person].length];
    const end = Math.round(1000 * secondsOf(view, person));
    return `phase ${phase + 1} / ${count}, ${Math.round((end * phase) / count)} of ${end} ms`;
  };
  const people = view.header.compare ? [0, view.other] : [view.shown];
  const words = [...new Set(people.map(of))];
  return words.length > 1 ? words.map((text, i) => `${"AB"[i]} ${text}`).join("  ·  ") : words[0];
}

/** Show everybody at a share of the cycle, if that is another phase of anybody. */
function showShare(view, share) {
  const before = view.volumes;
  showPhase(view, share);
  if (view.volumes.every((volume, person) => volume === before[person])) return;
  drawAll(view, true);
  tellPhase(view);
}

function play(view) {
  let last = null;
  const tick = (now) => {
    if (!view.root.isConnected || !beats(view)) return stopPlaying(view);
    const gone = ((now - (last ?? now)) / 1000) * view.speed;
    last = now;
    view.playing = requestAnimationFrame(tick);
    return showShare(view, (view.share + gone / secondsOf(view)) % 1);
  };
  view.playing = requestAnimationFrame(tick);
  tellPhase(view);
}

function stopPlaying(view) {
  cancelAnimationFrame(view.playing);
  view.playing = null;
}

/** Stay at the phase shown. */
function pause(view) {
  stopPlaying(view);
  view.still = true;
  choosePhase(view, phaseOf(view, leader(view)));
}

function togglePlay(view) {
  if (view.playing) pause(view);
  else {
    view.still = false;
    play(view);
  }
}

/** Show a phase and stay there. */
function choosePhase(view, phase) {
  stopPlaying(view);
  view.still = true;
  showPhase(view, phase / phasesOf(view));
  tellPhase(view);
  requestDraw(view);
}

function stepPhase(view, by) {
  choosePhase(view, (phaseOf(view, leader(view)) + by + phasesOf(view)) % phasesOf(view));
}

function nextEnd(view) {
  const { es } = view.header.people[leader(view)];
  choosePhase(view, phaseOf(view, leader(view)) === 0 && es !== undefined ? es : 0);
}

function setSpeed(view, speed) {
  view.speed = speed;
  tellPhase(view);
  say(view, `Speed ${speed} of the heart's own`);
}
