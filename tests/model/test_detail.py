"""Laws of the local networks: they begin as nothing, a crop sees what the whole does, and the sampler keeps its promises."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from engine.model.config import DetailConfig
from engine.model.nn.detail import Detail, Refiner, Tissues, classes_of
from engine.vocabulary.refusal import ConfigError

GRID = (32, 32, 32)
CONFIG = DetailConfig(widths=(8, 8, 16), blocks=1)


@pytest.fixture
def detail() -> Detail:
    torch.manual_seed(0)
    return Detail(CONFIG, 2, 3, GRID).requires_grad_(False)


def test_at_first_the_detail_is_the_best_linear_guess(detail: Detail) -> None:
    """Of data of variance 1: (1 - t) / ((1 - t)^2 + t^2) of the state; nothing where it is noise alone."""
    state, base = torch.randn(2, 2, *GRID), torch.rand(2, 2, *GRID)
    labels = torch.randint(0, 4, (2, *GRID)).to(torch.uint8)
    found = detail(state, torch.tensor([1.0, 0.5]), base, labels, [(0, 0, 0)] * 2)
    assert torch.equal(found[0], torch.zeros_like(found[0]))
    assert torch.allclose(found[1], state[1])


def test_one_evaluation_is_the_mean_whatever_the_noise(detail: Detail) -> None:
    torch.nn.init.normal_(detail.net.out.weight, std=0.1)
    detail.embedding.weight.normal_()
    base, labels = torch.full((1, 2, *GRID), 0.5), torch.zeros(1, *GRID, dtype=torch.uint8)
    silent = torch.zeros(1, 2, *GRID)
    assert torch.equal(detail.draw(base, labels, silent, 1), detail.draw(base, labels, silent, 1))
    four = [detail.draw(base, labels, torch.randn(1, 2, *GRID), 4) for _ in range(2)]
    assert not torch.equal(*four)


def test_the_sampler_draws_what_the_linear_guess_is_exact_for(detail: Detail) -> None:
    """Residuals of variance 1 and no network: the flow carries noise to residuals, of the SD of each place."""
    detail.variance.fill_(0.02**2)
    base, labels = torch.full((1, 2, *GRID), 0.5), torch.zeros(1, *GRID, dtype=torch.uint8)
    drawn = detail.draw(base, labels, torch.randn(1, 2, *GRID, generator=torch.Generator().manual_seed(1)), 200)
    assert float((drawn - base).std()) == pytest.approx(0.02, rel=0.02)


def test_the_middle_of_a_crop_is_that_of_the_whole() -> None:
    """So what is learned on crops holds for whole scans, and tiles have no seams."""
    torch.manual_seed(1)
    net = Detail(CONFIG, 1, 3, (128, 16, 16)).requires_grad_(False)
    for parameter in net.parameters():
        parameter.copy_(torch.randn(parameter.shape) * 0.1)
    state, base = torch.randn(1, 1, 128, 16, 16), torch.rand(1, 1, 128, 16, 16)
    labels, t = torch.randint(0, 4, (1, 128, 16, 16)).to(torch.uint8), torch.ones(1)
    whole = net(state, t, base, labels, [(0, 0, 0)])
    part = net(state[:, :, 16:112], t, base[:, :, 16:112], labels[:, 16:112], [(16, 0, 0)])
    assert torch.allclose(whole[:, :, 60:68], part[:, :, 44:52], atol=1e-5)


def test_without_training_the_refiner_leaves_the_scores() -> None:
    refiner = Refiner(CONFIG, 2, 5, GRID)
    scores = torch.randn(1, 5, *GRID)
    assert torch.equal(refiner(torch.rand(1, 2, *GRID), scores, [(0, 0, 0)]), scores)


def test_widths_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match="not three multiples of 8"):
        DetailConfig(widths=(8, 12, 16))


def test_a_frame_has_the_label_map_of_its_own() -> None:
    """Grain, and what the network is told, of one frame depend on that frame's labels."""
    torch.manual_seed(2)
    config = replace(CONFIG, classes=("air", "blood"), codes=((0,), (1,)))
    detail = Detail(config, 3, 2, GRID).requires_grad_(False)
    detail.grain.copy_(torch.tensor([[0.1, 0.2, 0.0], [0.3, 0.4, 0.0], [0.5, 0.6, 0.0]]))
    labels = torch.zeros(1, 3, *GRID, dtype=torch.uint8)
    labels[0, 1] = 1
    assert detail.grain_of(labels)[0, :, 0, 0, 0].tolist() == pytest.approx([0.1, 0.4, 0.5])
    detail.embedding.weight.normal_()
    torch.nn.init.normal_(detail.net.out.weight, std=0.1)
    base, noise = torch.full((1, 3, *GRID), 0.5), torch.zeros(1, 3, *GRID)
    other = labels.clone()
    other[0, 2, 8:16] = 1
    assert not torch.equal(detail.draw(base, labels, noise), detail.draw(base, other, noise))


def test_tissues_of_every_frame_are_scores_of_their_classes() -> None:
    config = replace(CONFIG, classes=("air", "blood", "fat"), codes=((0,), (1,), (2,)))
    tissues = Tissues(config, 2, GRID, 3).requires_grad_(False)
    scores = tissues(torch.rand(1, 2, *GRID), [(0, 0, 0)])
    assert scores.shape == (1, 3, 2, *GRID)
    # the bias of a class and frame, in every corner of its cubes, is that of its scores
    bias = torch.zeros(2, 3).index_put_((torch.tensor([0, 1]), torch.tensor([2, 1])), torch.tensor(1.0))
    assert tissues.net.out.bias is not None
    tissues.net.out.bias.copy_(bias.T.reshape(-1).repeat_interleave(8))
    found = tissues.labels(torch.rand(1, 2, *GRID))
    assert found[0, 0].eq(2).all()
    assert found[0, 1].eq(1).all()


def test_a_row_is_told_to_tissues_where_it_is_known() -> None:
    """Of scans that say nothing, blood everywhere or nowhere as the row has it is learned from the start; a row of zeros is as if none
    were known."""
    torch.manual_seed(3)
    tissues = Tissues(replace(CONFIG, classes=("air", "blood"), codes=((0,), (1,))), 2, GRID, 3)
    base, corners = torch.full((2, 2, *GRID), 0.5), [(0, 0, 0)] * 2
    row = torch.tensor([[1.0, 0.0, 0.5], [-1.0, 0.0, 0.5]])
    optimizer = torch.optim.Adam(tissues.parameters(), lr=1e-2)
    for _ in range(30):
        scores = tissues(base, corners, row)
        labels = torch.tensor([0, 1])[:, None, None, None, None].expand(scores[:, 0].shape)
        loss = torch.nn.functional.cross_entropy(scores, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        found = tissues.labels(base, row)
        assert found[0].eq(0).all()
        assert found[1].eq(1).all()
        assert torch.equal(tissues(base, corners, 0 * row), tissues(base, corners))


def shares_of(spread: float, inner: float = 40.0, outer: float = 44.0, n: int = 80) -> torch.Tensor:
    """Posterior shares of air, blood, a muscle in it and wall along a ray, whose place is normal with this ``spread``."""
    normal, at = torch.distributions.Normal(0.0, spread), torch.arange(n) + 0.5
    within, whole = normal.cdf(inner - at), normal.cdf(outer - at)
    muscle = 0.1 * within
    return torch.stack([1 - whole, within - muscle, muscle, whole - within])[None]


@pytest.mark.parametrize("spread", [0.5, 2.0, 6.0])
def test_a_wall_whose_place_is_not_sure_is_as_thick_as_its_borders_are_apart(spread: float) -> None:
    """Likeliest classes have no wall where its place is less sure than it is thick (SD 6 of 4)."""
    shares = shares_of(spread)
    found = classes_of(shares, [[1, 2, 3]])[0]
    assert found.tolist() == [1] * 40 + [3] * 4 + [0] * 36
    likeliest = int((shares.argmax(1) == 3).sum())
    assert likeliest == {0.5: 4, 2.0: 4, 6.0: 0}[spread]
    # and without walls of which it is known they are what is found
    assert torch.equal(classes_of(shares, []).long(), shares.argmax(1))


def test_of_what_a_wall_encloses_the_likeliest_is_found() -> None:
    """A muscle in the cavity that is likelier than blood, though the wall is likelier than each."""
    found = classes_of(torch.tensor([[[0.0, 0.6], [0.25, 0.1], [0.35, 0.1], [0.4, 0.2]]]), [[1, 2, 3]])
    assert found.tolist() == [[2, 0]]


def test_walls_are_of_the_models_classes() -> None:
    with pytest.raises(ConfigError, match=r"a wall of \('blood', 'bone'\) needs what it encloses, and classes of"):
        DetailConfig(classes=("air", "blood"), codes=((0,), (1,)), walls=(("blood", "bone"),))
    with pytest.raises(ConfigError, match=r"a wall of \('blood',\) needs what it encloses"):
        DetailConfig(classes=("air", "blood"), codes=((0,), (1,)), walls=(("blood",),))


def test_codes_go_with_classes() -> None:
    with pytest.raises(ConfigError, match="1 lists of codes do not go with 2 classes"):
        DetailConfig(classes=("air", "blood"), codes=((0,),))
