"""A tab of the browser on a page of the app."""

from __future__ import annotations

from playwright.sync_api import BrowserContext, Locator, Page, expect

#: what stands on a page when it is there
WORDS = {
    "Overview": "What you can do",
    "Explore": "Download",
    "What if": "Sweep one attribute",
    "Consistency": "Sample and measure",
    "Population": "Say on the left",
    "Library": "Save the library",
    "Review": "New rating",
    "Train": "Recipe",
    "Model review": "what its card says",
    "About": "Limits",
}
#: mean grey of the four quarters of a canvas: left top, right top, left bottom, right bottom
QUARTERS = """canvas => {
  const { width, height } = canvas, context = canvas.getContext("2d");
  const mean = (x, y) => {
    const pixels = context.getImageData(x, y, width >> 1, height >> 1).data;
    let sum = 0;
    for (let i = 0; i < pixels.length; i += 4) sum += pixels[i + 2];
    return sum / (pixels.length / 4);
  };
  return [mean(0, 0), mean(width >> 1, 0), mean(0, height >> 1), mean(width >> 1, height >> 1)];
}"""
#: the colour of a voxel of one of the planes of A (0 to 2) or B (4 to 6), as drawn
COLOUR = """(root, [pane, voxel]) => {
  const { panes, header, radiological } = root.somatwin, { canvas, fit, plane } = panes[pane];
  const share = (axis) => (voxel[axis] + 0.5) / header.shape[axis], across = share(plane.across);
  const x = fit.left + fit.width * (radiological ? 1 - across : across), y = fit.top + fit.height * (1 - share(plane.up));
  return [...canvas.getContext("2d").getImageData(x, y, 1, 1).data].slice(0, 3);
}"""
#: median time in ms to draw a step through the slices, over all of them
STEP = """async root => {
  const view = root.somatwin, canvas = view.panes[0].canvas, times = [];
  for (let i = 0; i < 40; i++) {
    const { draws } = view;
    canvas.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowDown" }));
    while (view.draws === draws) await new Promise(requestAnimationFrame);
    times.push(view.milliseconds);
  }
  return times.sort((a, b) => a - b)[20];
}"""
#: the greatest difference of colour between the coronal plane and the same place of the saved picture, at a grid of places
#: in the left lower part, where neither letters nor names stand; both as means of small squares
COPIED = """root => {
  const { picture, panes, slots } = root.somatwin, { canvas } = panes[1];
  const [box, all] = [canvas, slots.planes].map((node) => node.getBoundingClientRect());
  const finer = picture.width / all.width, coarser = canvas.width / box.width;
  const mean = (from, scale, left, top) => {
    const { data } = from.getContext("2d").getImageData(left * scale, top * scale, 4 * scale, 4 * scale), n = data.length / 4;
    return [0, 1, 2].map((part) => data.reduce((sum, value, i) => sum + (i % 4 === part ? value : 0), 0) / n);
  };
  let worst = 0;
  // above the letters at a wipe's divider, whose thin strokes a finer picture has otherwise
  for (let x = 0.2; x < 0.45; x += 0.04) {
    for (let y = 0.3; y < 0.66; y += 0.04) {
      const [left, top] = [box.width * x, box.height * y];
      const [one, other] = [mean(canvas, coarser, left, top), mean(picture, finer, left + box.left - all.left, top + box.top - all.top)];
      worst = Math.max(worst, ...one.map((value, part) => Math.abs(value - other[part])));
    }
  }
  return worst;
}"""
#: how many dots of the last lines of a picture are amber
AMBER = """canvas => {
  const { data } = canvas.getContext("2d").getImageData(0, canvas.height - 50, canvas.width, 50);
  let dots = 0;
  for (let i = 0; i < data.length; i += 4) dots += data[i] > 200 && data[i + 2] < 120;
  return dots;
}"""


class Visit:
    """A tab, which is a session of its own, with every request and message it sent."""

    def __init__(self, context: BrowserContext, width: int) -> None:
        self.page: Page = context.new_page()
        self.page.set_viewport_size({"width": width, "height": 900})
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.sent: list[object] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("websocket", lambda socket: socket.on("framesent", lambda frame: self.sent.append(frame)))

    @property
    def viewer(self) -> Locator:
        return self.page.locator(".viewer")

    def open(self, url: str) -> Visit:
        self.page.goto(url)
        return self

    def at_rest(self) -> Visit:
        """Wait until the page's script has run: what stands on it then stays."""
        expect(self.page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
        return self

    def shown(self, other_than: str | None = None, button: str = "Download") -> str:
        """The fingerprint of the scene on screen, once there is one (other than the one given), at rest: with its button."""
        pattern = f":not([data-fingerprint='{other_than}'])" if other_than else ""
        self.page.locator(f".viewer[data-fingerprint]{pattern}").wait_for()
        expect(self.page.get_by_role("button", name=button)).to_be_visible()
        return str(self.viewer.get_attribute("data-fingerprint"))

    def pane(self, name: str) -> Locator:
        return self.page.locator(".pane").nth(["Axial", "Coronal", "Sagittal", "Surface"].index(name)).locator("canvas")

    def press(self, name: str) -> None:
        self.viewer.get_by_role("button", name=name, exact=True).click()


def jump(here: Visit, voxel: list[int]) -> None:
    """Put the crosshair there, and wait until everything is drawn as the viewer's state now says."""
    here.page.bring_to_front()  # a tab behind another one draws once a second
    here.viewer.evaluate(
        """(root, cursor) => new Promise(done => {
          const before = root.somatwin.draws;
          Object.assign(root.somatwin, { cursor });
          for (const key of "xx") root.dispatchEvent(new KeyboardEvent("keydown", { key }));
          const look = () => root.somatwin.draws > before ? done() : requestAnimationFrame(look);
          look();
        })""",
        voxel,
    )
