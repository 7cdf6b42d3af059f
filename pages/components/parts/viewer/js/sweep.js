// A sweep: people who differ in one attribute, played through in the same window and at the same place.

SHORTCUTS.push({ keys: "K", words: "play the sweep, or pause", when: (view) => view.header.sweep, act: toggleSweep });

function showSweep(component) {
  show(component);
  component.parentElement.querySelector(".viewer").somatwin.plays ??= "";
}

/** On its page a sweep plays when it comes, unless the reader wants no motion; in place of its drafts it goes on as it was. */
ADDED.scene.push((view) => {
  const sweep = view.header.people.map(({ says }) => says).join();
  if (view.plays === undefined || view.plays === sweep) return;
  view.plays = sweep;
  if (!view.sweeping && !matchMedia("(prefers-reduced-motion: reduce)").matches) toggleSweep(view);
});

/** The slider over a sweep, with its play button; it is not built anew while it is dragged. */
function buildSweep(view) {
  const { people } = view.header;
  const last = people.length - 1;
  const choose = (event) => showPerson(view, Number(event.target.value));
  return [
    quietButton(view.sweeping ? "Pause" : "Play the sweep", "Play through the sweep, to and fro (K)", () => toggleSweep(view), String(Boolean(view.sweeping))),
    element("label", { class: "sweep" }, element("input", { type: "range", min: 0, max: last, value: view.shown, "aria-label": "Place in the sweep", "aria-valuetext": people[view.shown].says, oninput: choose }),
      element("output", {}, people[view.shown].says)),
  ];
}

/** Another person of a sweep, in the same window and at the same place. */
function showPerson(view, shown) {
  const { slots, header } = view;
  view.shown = shown;
  document.documentElement.dataset.person = shown;
  const [input, output] = slots.strip.querySelectorAll("input, output");
  Object.assign(input, { value: shown, ariaValueText: header.people[shown].says });
  output.textContent = header.people[shown].says;
  slots.panel.replaceChildren(...buildTable(view));
  requestDraw(view);
}

const SWEEP_MS = 400;

/** Play through the people of a sweep, to and fro. */
function toggleSweep(view) {
  if (view.sweeping) stopSweep(view);
  else {
    let direction = view.shown === view.header.people.length - 1 ? -1 : 1;
    view.sweeping = setInterval(() => {
      if (!view.root.isConnected || !view.header.sweep) return stopSweep(view);
      const last = view.header.people.length - 1;
      if (view.shown + direction < 0 || view.shown + direction > last) direction = -direction;
      return showPerson(view, clamp(view.shown + direction, 0, last));
    }, SWEEP_MS);
  }
  update(view, {});
}

function stopSweep(view) {
  clearInterval(view.sweeping);
  view.sweeping = null;
}
