"""No words stand on other words: on the panes, and in every picture that is saved of them, at every size."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext

from pages.components.parts.viewer.viewer import HERE
from tests.pages.visit import Visit

#: keeps every word that is written on a canvas, with its box in dots, until the canvas is wiped; pictures take theirs along
RECORD = """(() => {
  const proto = CanvasRenderingContext2D.prototype, { fillText, fillRect, drawImage } = proto;
  const words = (window.canvasWords = new WeakMap());
  const of = (canvas) => words.get(canvas) ?? words.set(canvas, []).get(canvas);
  proto.fillRect = function (x, y, width, height) {
    if (!x && !y && width >= this.canvas.width && height >= this.canvas.height) words.set(this.canvas, []);
    return fillRect.call(this, x, y, width, height);
  };
  proto.fillText = function (text, x, y) {
    const { width, actualBoundingBoxAscent: up, actualBoundingBoxDescent: down } = this.measureText(text);
    const left = x - { left: 0, center: 0.5, right: 1 }[this.textAlign] * width;
    of(this.canvas).push({ text, left, right: left + width, top: y - up, bottom: y + down });
    return fillText.call(this, text, x, y);
  };
  proto.drawImage = function (source, x, y, ...more) {
    if (!more.length) {
      for (const { text, left, right, top, bottom } of words.get(source) ?? []) {
        of(this.canvas).push({ text, left: left + x, right: right + x, top: top + y, bottom: bottom + y });
      }
    }
    return drawImage.call(this, source, x, y, ...more);
  };
})();"""
#: the words of the picture that is saved of a view
PICTURE = """(root, [saved, changes]) => {
  const view = root.somatwin;
  Object.assign(view, changes, { saved });
  root.dispatchEvent(new KeyboardEvent("keydown", { key: "g" }));
  const { width, height } = view.picture;
  return { words: canvasWords.get(view.picture), width, height };
}"""
#: the words of each pane, its caption on the page among them, in pixels of the pane
PANES = """root => root.somatwin.panes.filter(({ node }) => !node.classList.contains("hidden")).map(({ canvas, caption }) => {
  const box = canvas.getBoundingClientRect(), share = canvas.width / box.width;
  const words = (canvasWords.get(canvas) ?? []).map(({ text, ...sides }) =>
    ({ text, ...Object.fromEntries(Object.entries(sides).map(([side, dots]) => [side, dots / share])) }));
  const range = document.createRange();
  range.selectNodeContents(caption);
  const place = range.getBoundingClientRect();
  const [left, right] = [place.left - box.left, place.right - box.left];
  const own = { left, right, top: place.top - box.top + 4, bottom: place.bottom - box.top - 4 };
  return { words: [...words, { text: caption.textContent, ...own }], width: box.width, height: box.height };
})"""
NAMED = """root => root.somatwin.header.people.forEach((one, i) => {
  one.says = i ? "What if: BMI 34 kg/m²" : "Before: BMI 22 kg/m²";
})"""
SETTLE = "() => new Promise((done) => setTimeout(done, 400))"


def overprints(drawn: dict) -> list[tuple[str, str]]:
    """Pairs of words that lie on each other, and words that leave the picture."""
    words = drawn["words"]
    found = [
        (one["text"], other["text"])
        for one, other in combinations(words, 2)
        if min(one["right"], other["right"]) > max(one["left"], other["left"])
        and min(one["bottom"], other["bottom"]) > max(one["top"], other["top"])
    ]
    cut = [
        (one["text"], "the edge")
        for one in words
        if one["left"] < -1
        or one["right"] > drawn["width"] + 1
        or one["top"] < -1
        or one["bottom"] > drawn["height"] + 1
    ]
    return found + cut


@pytest.fixture(scope="module")
def visits(launch: Callable[..., BrowserContext], block_address: str) -> Callable[[str, int], Visit]:
    def opened(scene: str, width: int) -> Visit:
        here = Visit(launch(), width)
        here.page.add_init_script(RECORD)
        here.open(f"{block_address}?scene={scene}")
        here.page.locator(".viewer[data-fingerprint]").wait_for()
        return here

    return opened


CHANGES = {
    "torso": [{}, {"overlay": True}],
    "pair": [{"mode": "side"}, {"mode": "wipe", "wipe": 0.5}, {"mode": "wipe", "wipe": 0.15}, {"mode": "difference"}],
    "cines": [{"mode": "side"}, {"mode": "wipe", "wipe": 0.5}],
}


@pytest.mark.parametrize("width", [414, 1440])
@pytest.mark.parametrize("scene", CHANGES)
def test_no_words_stand_on_others(visits: Callable[[str, int], Visit], scene: str, width: int):
    here = visits(scene, width)
    here.viewer.evaluate(NAMED)
    planes = here.viewer.evaluate("root => root.somatwin.header.planes")
    for changes in CHANGES[scene]:
        for saved in ("All views", *planes, "3D"):
            for shape in ("Slide 16:9", "As shown"):
                drawn = here.viewer.evaluate(PICTURE, [saved, changes | {"shape": shape}])
                texts = {word["text"] for word in drawn["words"]}
                assert overprints(drawn) == [], f"{saved}, {changes}, {shape}"
                assert any("SYNTHETIC" in text for text in texts)
                assert shape == "As shown" or (drawn["width"], drawn["height"]) == (1920, 1080)
        here.page.evaluate(SETTLE)
        for pane in here.viewer.evaluate(PANES):
            assert overprints(pane) == [], f"on the page, {changes}"
    assert not here.errors
    here.page.close()


def test_the_caption_begins_with_the_model_and_names_each_person_once(visits: Callable[[str, int], Visit]):
    here = visits("pair", 1440)
    here.viewer.evaluate(PICTURE, ["All views", {"mode": "side"}])
    lines = here.viewer.evaluate("root => root.somatwin.picture.ariaLabel").split("\n")
    assert lines[0].startswith("block · A beside B · Water · window 0.00 to 0.45 · ")
    assert [line[:6] for line in lines[1:3]] == ["A: One", "B: Two"]
    assert "BMI 20 kg/m²" in lines[1]
    assert lines[-1] == "SYNTHETIC - not for diagnosis"
    here.page.close()


def test_what_makes_scripts_smaller_keeps_their_words():
    """rjsmin drops a space after a comma within a template that stands in another one."""
    for file in sorted(Path(HERE / "js").glob("*.js")):
        nested = re.findall(r"\$\{[^{}`]*`", file.read_text(encoding="utf-8"))
        assert [one for one in nested if "=>" not in one] == [], file.name
