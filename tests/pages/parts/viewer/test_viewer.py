"""The viewer as a clinician uses it: channels, comparison, windows, labels, distance, keys, pictures; every value known."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, expect

from tests.pages.visit import AMBER, COLOUR, COPIED, STEP, Visit, jump

CUBE, BODY, LOWER, AIR = [70, 60, 115], [40, 30, 115], [15, 15, 15], [7, 7, 115]


def opened(visit: Callable[..., Visit], address: str, scene: str) -> Visit:
    here = visit().open(f"{address}?scene={scene}")
    here.page.locator(".viewer[data-fingerprint]").wait_for()
    return here


@pytest.fixture(scope="module")
def torso_page(visit: Callable[..., Visit], block_address: str) -> Visit:
    return opened(visit, block_address, "torso")


@pytest.fixture(scope="module")
def pair_page(visit: Callable[..., Visit], block_address: str) -> Visit:
    return opened(visit, block_address, "pair")


@pytest.fixture
def torso(torso_page: Visit) -> Visit:
    """Water and fat, the crosshair in the cube, labels and crosshair's lines off, smoothing off."""
    return prepared(torso_page, overlay=False)


@pytest.fixture
def pair(pair_page: Visit) -> Visit:
    return prepared(pair_page, mode="side")


def prepared(here: Visit, **state: object) -> Visit:
    here.page.bring_to_front()
    here.press("Reset")
    here.viewer.evaluate(
        "(root, state) => void Object.assign(root.somatwin, { signal: 0, smooth: false, crosshair: false, ...state })",
        state,
    )
    jump(here, CUBE)
    return here


def colour(here: Visit, voxel: list[int], pane: int = 0) -> list[int]:
    here.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return here.viewer.evaluate(COLOUR, [pane, voxel])


def readout(here: Visit) -> Locator:
    return here.viewer.locator(".readout")


def caption(here: Visit, pane: int = 0) -> Locator:
    return here.viewer.locator(".pane figcaption").nth(pane)


def drag(here: Visit, start: tuple[float, float], end: tuple[float, float], button: str = "left") -> None:
    """On the axial plane, between points in fractions of the canvas."""
    box = here.pane("Axial").bounding_box()
    assert box
    places = [(box["x"] + box["width"] * u, box["y"] + box["height"] * v) for u, v in (start, end)]
    here.page.mouse.move(*places[0])
    here.page.mouse.down(button=button)  # type: ignore[arg-type]
    here.page.mouse.move(*places[1], steps=3)
    here.page.mouse.up(button=button)  # type: ignore[arg-type]


def test_channels_and_fat_fraction_have_known_values(torso: Visit):
    """Water 0.6 and fat 0.2 are 25 % fat, in the cube 75 %; air has none. Switching asks the server nothing."""
    sent = len(torso.sent)
    expect(readout(torso)).to_contain_text("R 350  A 300  S 690 mm")
    expect(readout(torso)).to_contain_text("Water 0.20  ·  Fat 0.60  ·  In-phase 0.80  ·  Fat fraction 75.0 %")
    expected = {"Water": (51, 153, 3), "Fat": (153, 51, 3), "In-phase": (204, 204, 6), "Fat fraction": (192, 64, 0)}
    for name, greys in expected.items():
        torso.press(name)
        torso.press("0–100 %" if name == "Fat fraction" else "Full")
        for voxel, grey in zip((CUBE, BODY, AIR), greys, strict=True):
            assert colour(torso, voxel) == pytest.approx([grey] * 3, abs=1), (name, voxel)
    jump(torso, AIR)
    expect(readout(torso)).to_contain_text("Fat fraction no signal")
    jump(torso, BODY)
    expect(readout(torso)).to_contain_text("Fat fraction 25.0 %")
    assert len(torso.sent) == sent


def test_windows_fit_the_anatomy_and_a_right_drag_sets_them(torso: Visit):
    windows = torso.viewer.get_by_role("group", name="Window")
    expect(windows.get_by_role("button")).to_have_text(["Standard", "Organs", "Full"])
    expect(readout(torso)).to_contain_text("window 0.00 to 0.45")
    drag(torso, (0.5, 0.5), (0.8, 0.5), button="right")
    expect(readout(torso)).not_to_contain_text("window 0.00 to 0.45")
    torso.pane("Axial").press("v")
    expect(readout(torso)).to_contain_text("window 0.00 to 0.45")
    torso.pane("Axial").press("4")
    torso.press("0–40 %")
    expect(readout(torso)).to_contain_text("window 0 to 40 %")
    assert colour(torso, BODY) == pytest.approx([255 * 25 / 40] * 3, abs=2)


def test_labels_lie_over_the_scan_and_name_the_voxel(torso: Visit):
    torso.press("Full")
    torso.press("Labels")
    expect(readout(torso)).to_contain_text("Cube")
    torso.viewer.get_by_label("Opacity").fill("40")
    assert colour(torso, CUBE) == pytest.approx([0.6 * 51 + 0.4 * 255, 0.6 * 51, 0.6 * 51], abs=2)
    assert colour(torso, BODY) == [153, 153, 153]
    torso.viewer.get_by_role("button", name="Cube").click()
    assert colour(torso, CUBE) == [51, 51, 51]
    torso.viewer.get_by_role("button", name="Cube").click()
    torso.pane("Axial").press("l")
    expect(torso.viewer.get_by_label("Opacity")).to_have_count(0)


def test_a_distance_is_in_millimetres(torso: Visit):
    """Across the whole width of the plane, 96 voxels of 5 mm; from the crosshair 7 slices of 6 mm up and 4 voxels of 5 mm."""
    torso.press("Distance")
    width = torso.viewer.evaluate("root => root.somatwin.panes[0].fit.width / root.somatwin.panes[0].canvas.width")
    drag(torso, (0.5 - width / 4, 0.5), (0.5 + width / 4, 0.5))
    expect(readout(torso)).to_contain_text("distance 240.0 mm")
    axial = torso.pane("Axial")
    axial.press("m")
    for _ in range(7):
        axial.press("ArrowUp")
    for _ in range(4):
        axial.press("Shift+ArrowLeft")
    axial.press("m")
    expect(readout(torso)).to_contain_text(f"distance {(42**2 + 20**2) ** 0.5:.1f} mm")
    expect(readout(torso)).to_contain_text("R 370")
    axial.press("Escape")
    expect(readout(torso)).not_to_contain_text("distance")


def test_cine_help_and_full_screen_by_key(torso: Visit):
    axial, status = torso.pane("Axial"), torso.viewer.get_by_role("status")
    expect(status).to_contain_text("Axial  116 / 144. R 350  A 300  S 690 mm")
    axial.press("p")
    expect(caption(torso)).to_have_text(re.compile(r"Axial  (11[89]|12\d) / 144"))
    axial.press("p")
    expect(torso.viewer.get_by_role("button", name="Play")).to_be_visible()
    torso.page.wait_for_timeout(500)  # a frame that was already asked for may still be drawn
    stopped = caption(torso).text_content()
    torso.page.wait_for_timeout(500)
    expect(caption(torso)).to_have_text(stopped or "")
    axial.press("h")
    keys = torso.viewer.get_by_role("dialog", name="Keys")
    expect(keys).to_contain_text("begin and end a distance at the crosshair")
    expect(keys).not_to_contain_text("wipe")
    torso.page.keyboard.press("Escape")
    expect(keys).to_be_hidden()
    axial.press("f")
    expect(torso.viewer.get_by_role("button", name="Leave full screen")).to_be_visible()
    axial.press("f")
    expect(torso.viewer.get_by_role("button", name="Full screen", exact=True)).to_be_visible()
    axial.press("e")
    expect(torso.viewer.locator(".pane:not(.hidden)")).to_have_count(1)
    axial.press("e")


def test_two_fingers_scroll(torso: Visit):
    box = torso.pane("Axial").bounding_box()
    assert box
    x, y = box["x"] + 100, box["y"] + 100
    client = torso.page.context.new_cdp_session(torso.page)

    def touch(kind: str, *ys: float) -> None:
        points = [{"x": x + 40 * i, "y": place, "id": i} for i, place in enumerate(ys)]
        client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", y)
    touch("touchStart", y, y)
    z = torso.viewer.evaluate("root => root.somatwin.cursor[2]")
    for way in range(10, 90, 10):
        touch("touchMove", y + way, y + way)
    touch("touchEnd")
    assert torso.viewer.evaluate("root => root.somatwin.cursor[2]") == z + 2


@pytest.mark.parametrize("preset", ["Skin", "Lean tissue", "Fat tissue", "Label surfaces", "Projection"])
def test_the_3d_view_shows_each_preset(torso: Visit, preset: str):
    select = torso.viewer.get_by_label("3D view")
    select.select_option(preset)
    expect(caption(torso, 3)).to_have_text(preset)
    lit = torso.pane("Surface").evaluate(
        """canvas => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data
          .filter((value, i) => i % 4 === 0 && value > 40).length / (canvas.width * canvas.height)"""
    )
    cube_alone = preset in ("Fat tissue", "Label surfaces")
    assert (0.005 if cube_alone else 0.08) < lit < (0.1 if cube_alone else 0.6)
    select.select_option("Skin")


def test_label_surfaces_name_their_colours(torso: Visit):
    """The legend stands while colours are on screen: as surfaces, or on the planes."""
    select, legend = torso.viewer.get_by_label("3D view"), torso.viewer.locator(".legend button")
    expect(legend).to_have_count(0)
    select.select_option("Label surfaces")
    expect(legend).to_have_text(["Cube"])
    assert legend.locator("i").evaluate("dot => getComputedStyle(dot).backgroundColor") == "rgb(255, 0, 0)"
    expect(torso.viewer.get_by_label("Opacity")).to_have_count(0)
    select.select_option("Skin")
    expect(legend).to_have_count(0)


def test_a_beside_b_share_window_and_crosshair(pair: Visit):
    pair.press("Full")
    assert [colour(pair, BODY, pane) for pane in (0, 4)] == [[153] * 3] * 2
    pair.press("Fat")
    pair.press("Full")
    assert [colour(pair, CUBE, pane)[0] for pane in (0, 4)] == [153, 204]
    expect(readout(pair)).to_contain_text("Fat  A 0.60  ·  B 0.80  ·  B − A: +0.20")
    pair.viewer.locator(".pane canvas").nth(4).press("PageDown")
    expect(caption(pair, 0)).to_have_text("Axial  106 / 144")
    expect(caption(pair, 4)).to_have_text("Axial  106 / 144")
    expect(pair.viewer.locator("[data-column=bmi] .change")).to_have_text("+5.5")


def test_the_difference_is_symmetric_and_signed(pair: Visit):
    """Orange for more in B, blue for less, slate for none, black for air, each known from the scale's definition."""
    pair.pane("Axial").press("d")
    slate, black = [38, 45, 51], [0, 0, 0]
    pair.press("Fat")
    pair.press("±0.10")
    assert colour(pair, CUBE) == pytest.approx([255, 230, 176], abs=1), "beyond the end of the scale"
    assert (colour(pair, BODY), colour(pair, AIR)) == (slate, black)
    pair.press("±0.50")
    red, _, blue = colour(pair, CUBE)
    assert red > blue + 60
    pair.press("Water")
    assert colour(pair, CUBE) == slate
    pair.press("±0.10")
    jump(pair, LOWER)
    assert colour(pair, LOWER) == pytest.approx([208, 238, 255], abs=1)
    expect(readout(pair)).to_contain_text("B − A: −0.20  ·  scale ±0.10")
    pair.press("Fat fraction")
    jump(pair, CUBE)
    expect(readout(pair)).to_contain_text("A 75.0 %  ·  B 80.0 %  ·  B − A: +5.0 %")


def test_the_wipe_uncovers_b(pair: Visit):
    """The cube is on the left of the screen: B when the divider is at its left, A when it is at its right."""
    pair.press("Fat")
    pair.press("Full")
    pair.press("Wipe")
    slider = pair.viewer.get_by_label("Wipe from A to B")
    greys = {}
    for share in (0, 10, 50, 100):
        slider.fill(str(share))
        greys[share] = colour(pair, CUBE)[0]
    assert greys == {0: 204, 10: 204, 50: 153, 100: 153}
    slider.fill("50")
    drag(pair, (0.5, 0.5), (0.5 + 0.01, 0.2))
    assert pair.viewer.evaluate("root => root.somatwin.wipe") > 0.5, "the divider can be dragged on the picture"
    expect(slider).not_to_have_value("50")
    pair.pane("Axial").press("[")
    assert pair.viewer.evaluate("root => root.somatwin.wipe") < 0.5


@pytest.mark.parametrize(
    ("key", "mode"), [("s", "A beside B"), ("w", "Wipe between A and B at 50 %"), ("d", "Difference")]
)
def test_the_picture_is_what_is_shown(pair: Visit, key: str, mode: str):
    pair.pane("Axial").press(key)
    pair.viewer.get_by_label("Shape of a picture").select_option("As shown")
    with pair.page.expect_download() as download:
        pair.page.keyboard.press("g")
    assert download.value.suggested_filename == "one_two.png"
    picture = pair.viewer.evaluate_handle("root => root.somatwin.picture")
    assert picture.evaluate(AMBER) > 300
    words = " ".join(picture.evaluate("canvas => canvas.ariaLabel").split())
    for part in (mode, "block", "A: One · BMI 20 kg/m²", "B: Two · BMI 25.5 kg/m²", "Water", "R 350 A 300 S 690 mm"):
        assert part in words
    assert pair.viewer.evaluate(COPIED) < 8, "the same picture, but for finer edges"
    assert picture.evaluate("canvas => canvas.width") >= 1920
    pair.viewer.get_by_label("Shape of a picture").select_option("Slide 16:9")


#: the size of the saved picture; the share of it, along its middle row and column, that lies between the first and the last dot that is
#: not black; and how far the middle of that part is from the middle of the slide, in dots
SLIDE = """root => {
  const { picture } = root.somatwin, { width, height } = picture, context = picture.getContext("2d");
  const ends = (data) => {
    const lit = [];
    for (let i = 0; i < data.length; i += 4) if (data[i] + data[i + 1] + data[i + 2] > 60) lit.push(i / 4);
    return [lit[0], lit.at(-1)];
  };
  const [left, right] = ends(context.getImageData(0, Math.round(height * 0.3), width, 1).data);
  return { width, height, share: (right - left) / width, aside: (left + right) / 2 - width / 2 };
}"""


@pytest.mark.parametrize("views", ["All views", "Axial", "Coronal", "3D"])
def test_a_picture_is_a_slide(torso: Visit, views: str):
    """1920 x 1080, what is shown in its middle on black, the warning below it."""
    torso.viewer.get_by_label("Views in a picture").select_option(views)
    with torso.page.expect_download():
        torso.press("Save image")
    found = torso.viewer.evaluate(SLIDE)
    assert (found["width"], found["height"]) == (1920, 1080)
    assert abs(found["aside"]) < 0.1 * 1920
    assert found["share"] > 0.15
    assert torso.viewer.evaluate_handle("root => root.somatwin.picture").evaluate(AMBER) > 300
    torso.viewer.get_by_label("Views in a picture").select_option("All views")


def test_a_slice_step_is_drawn_within_a_frame(torso: Visit, pair: Visit):
    """96 x 80 x 144 voxels of two channels, without a GPU: at least thirty steps a second."""
    for here in (torso, pair):
        here.page.bring_to_front()
        assert here.viewer.evaluate(STEP) < 33


def test_a_comparison_fits_a_phone(pair: Visit):
    pair.page.set_viewport_size({"width": 414, "height": 896})
    pair.page.wait_for_function("document.documentElement.clientWidth <= 414")
    assert pair.page.evaluate("document.documentElement.scrollWidth") <= 414
    tops = [box["y"] for i in (0, 4) if (box := pair.viewer.locator(".pane").nth(i).bounding_box())]
    assert tops[0] == tops[1], "A and B of a plane stand side by side"
    pair.page.set_viewport_size({"width": 1440, "height": 900})


def test_a_picture_that_may_not_be_kept_is_not_offered(torso: Visit):
    button = torso.viewer.get_by_role("button", name="Save image")
    expect(button).to_have_count(1)
    torso.viewer.evaluate("(root) => void (root.somatwin.header.pictures = false)")
    torso.press("Reset")
    expect(button).to_have_count(0)
    torso.viewer.evaluate("(root) => void (root.somatwin.header.pictures = true)")
    torso.press("Reset")
    expect(button).to_have_count(1)


@pytest.mark.parametrize(("scene", "tall"), [("pair", True), ("heads", False)])
def test_panes_side_by_side_are_laid_out_by_the_body(
    visit: Callable[..., Visit], block_address: str, scene: str, tall: bool
):
    """A head is nearly as deep as it is high: beside its sagittal plane there would be no room for the surface."""
    here = opened(visit, block_address, scene)
    here.viewer.evaluate("(root) => void Object.assign(root.somatwin, { mode: 'side' })")
    assert here.viewer.evaluate("(root) => root.classList.contains('tall')") is tall
    boxes = [pane.bounding_box() for pane in here.viewer.locator(".pane:visible").all()]
    assert len(boxes) == 8
    assert all(box and box["width"] >= 60 and box["height"] >= 100 for box in boxes)
