"""Networks in tiles: equal to the whole within 1e-5, and each voxel is seen exactly as far as is computed."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from engine.model.config import AutoencoderConfig, DetailConfig, MaskConfig
from engine.model.nn import large
from engine.model.nn.atlas_autoencoder import AtlasAutoencoder, laid
from engine.model.nn.autoencoder import Autoencoder, Down, ResidualBlock, Up, space_to_depth
from engine.model.nn.detail import Detail, LevelledBlock
from engine.model.nn.mask_autoencoder import MaskAutoencoder
from engine.model.nn.tiles import atlas as tiled_atlas
from engine.model.nn.tiles import boxes as tiles_module
from engine.model.nn.tiles import scan as tiled
from engine.model.nn.tiles.boxes import Coarser, Finer, GroupScale, Near, chain_of, in_tiles, needed, passed, tiles

SHAPES = [((32, 48, 64), 16), ((64, 32, 48), 24), ((48, 80, 32), 40), ((80, 64, 96), 33)]
CLASSES = ("background", "one", "two")


def shaken(module: nn.Module, seed: int = 0) -> nn.Module:
    """No weight is 0, so that everything has an influence."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        for buffer in filter(torch.is_floating_point, module.buffers()):
            buffer.add_(torch.rand(buffer.shape, generator=generator))
    return module.eval()


def numbers(*shape: int, seed: int = 1) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def classes(*shape: int) -> Tensor:
    return (numbers(*shape) * len(CLASSES)).to(torch.uint8)


def close(one: Tensor, other: Tensor) -> None:
    scale = max(1.0, float(other.abs().max()))
    torch.testing.assert_close(one / scale, other / scale, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("grid", "side"), SHAPES)
@pytest.mark.parametrize("channels", [1, 2])
def test_the_image_autoencoder_is_the_same_in_tiles(grid: tuple[int, int, int], side: int, channels: int) -> None:
    sizes = {"grid": grid, "channels": channels, "latent": 6, "widths": (8, 12, 16, 16)}
    coder = Autoencoder(AutoencoderConfig(**sizes, skip=channels == 2))
    shaken(coder)
    volume = numbers(2, channels, *grid)
    with torch.inference_mode():
        tokens = coder.encode(volume)
        close(tiled.encode(coder, volume, side), tokens)
        close(tiled.decode(coder, tokens, side), coder.decode(tokens))


def test_tiles_of_wide_maps_are_smaller_and_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    coder = Autoencoder(AutoencoderConfig(grid=(64, 32, 48), latent=6, widths=(8, 12, 16, 16)))
    shaken(coder)
    monkeypatch.setattr(tiles_module, "KEPT", 8 * 9**3)
    with torch.inference_mode():
        tokens = coder.encode(numbers(1, 1, 64, 32, 48))
        close(tiled.decode(coder, tokens), coder.decode(tokens))


@pytest.mark.parametrize(("grid", "side"), SHAPES)
def test_the_mask_autoencoder_is_the_same_in_tiles(grid: tuple[int, int, int], side: int) -> None:
    config = MaskConfig(classes=CLASSES, codes=((0,), (1,), (2,)), latent=5, widths=(8, 12, 16, 16))
    coder = MaskAutoencoder(config, grid)
    shaken(coder)
    labels = classes(2, *grid)
    with torch.inference_mode():
        tokens = coder.encode(labels)
        close(tiled.encode_mask(coder, labels, side), tokens)
        scores, found = coder.decode(tokens), tiled.MaskScores(coder, tokens, side).labels()
        best = scores.max(1).values
        chosen = scores.gather(1, found.long()[:, None])[:, 0]
        # where two classes are as likely either may be taken
        assert float((best - chosen).max()) < 1e-4
        assert (found == scores.argmax(1)).float().mean() > 0.9999


@pytest.mark.parametrize(("grid", "side"), SHAPES)
@pytest.mark.parametrize("evaluations", [1, 3])
def test_detail_is_the_same_in_tiles(grid: tuple[int, int, int], side: int, evaluations: int) -> None:
    detail = Detail(DetailConfig(widths=(8, 16, 16), blocks=2), 2, len(CLASSES), grid)
    shaken(detail)
    base, labels = numbers(1, 2, *grid), classes(1, *grid)
    noise = torch.randn(1, 2, *grid, generator=torch.Generator().manual_seed(7))
    kept = noise.clone()
    with torch.inference_mode():
        whole = detail.draw(base, labels, noise, evaluations)
        close(tiled.draw(detail, base, labels, noise, evaluations, None, side), whole)
    assert torch.equal(noise, kept)


@pytest.mark.parametrize(("grid", "side"), SHAPES)
def test_an_atlas_and_the_detail_on_it_are_the_same_in_tiles(grid: tuple[int, int, int], side: int) -> None:
    config = MaskConfig(classes=CLASSES, codes=((0,), (1,), (2,)), latent=5, widths=(8, 12, 16, 16), atlas=True)
    coder = AtlasAutoencoder(config, grid, 2)
    blocks = numbers(*(n // 8 for n in grid)).repeat_interleave(8, 0).repeat_interleave(8, 1).repeat_interleave(8, 2)
    with torch.no_grad():
        coder.anatomy.copy_((blocks * 3).to(torch.uint8))
        coder.template.copy_(numbers(2, *grid))
    shaken(coder)
    generator = torch.Generator().manual_seed(7)
    base, noise = numbers(2, 2, *grid, seed=5), torch.randn(2, 2, *grid, generator=generator)
    with torch.inference_mode():
        tokens = 10 * torch.randn(2, math.prod(n // 16 for n in grid), 5, generator=generator)
        whole = coder.field(tokens)
        assert float(whole.abs().max()) > 2
        close(tiled_atlas.field(coder, tokens, side), whole)
        found, expected = tiled_atlas.labels(coder, whole, side), coder.seen(whole).argmax(1)
        assert (found == expected).float().mean() > 0.9999
        mean = coder.mean_scan(whole)
        close(tiled_atlas.mean_scan(coder, whole, side), mean)
        close(tiled_atlas.lay(base, mean, side), laid(base, mean))
        detail = Detail(DetailConfig(widths=(8, 16, 16), blocks=1), 2, len(CLASSES), grid, atlas=True)
        shaken(detail)
        # a residual of tenths, as scans have: what is clipped to 0..1 afterwards has no larger errors of rounding before
        detail.variance.clamp_(max=0.04)
        for template in (mean, None):
            drawn = detail.draw(base, found, noise, 1, template)
            close(tiled.draw(detail, base, found, noise, 1, template, side), drawn)


def test_there_are_no_seams() -> None:
    """What tiles change is as small across their borders as anywhere."""
    grid = (64, 64, 64)
    coder = shaken(Autoencoder(AutoencoderConfig(grid=grid, latent=6, widths=(8, 12, 16, 16))))
    assert isinstance(coder, Autoencoder)
    with torch.inference_mode():
        tokens = 3 * coder.encode(numbers(1, 1, *grid))
        whole = coder.decode(tokens)
        error = (tiled.decode(coder, tokens, 16) - whole) / float(whole.abs().max())
    for axis in (2, 3, 4):
        across = error.diff(dim=axis).abs().amax(tuple({0, 1, 2, 3, 4} - {axis}))
        assert float(across[15::16].max()) < 1e-5


@settings(max_examples=40, deadline=None)
@given(
    grid=st.tuples(*[st.integers(1, 5).map(lambda n: 8 * n)] * 3),
    side=st.integers(1, 40),
    chain=st.sampled_from(
        [
            (Near(1),),
            (Coarser(2), Near(1), Near(1)),
            (Finer(2), Near(1), Finer(2)),
            (Coarser(2), Near(2), Coarser(4), Near(1), Finer(2)),
        ]
    ),
)
def test_tiles_cover_every_cell_once(grid: tuple[int, int, int], side: int, chain: tuple) -> None:
    out = torch.zeros(1, 1, *(n * ratio(chain)[0] // ratio(chain)[1] for n in grid))
    for tile in tiles(grid, chain, side):
        out[(..., *tile.kept)] += 1
        assert all(part.start >= 0 and part.stop <= n for part, n in zip(tile.seen, grid, strict=True))
    assert bool((out == 1).all())


def ratio(chain: tuple) -> tuple[int, int]:
    finer = math.prod(layer.by for layer in chain if isinstance(layer, Finer))
    return finer, math.prod(layer.by for layer in chain if isinstance(layer, Coarser))


class Levelled(nn.Module):
    def __init__(self, block: LevelledBlock) -> None:
        super().__init__()
        self.block, self.level = block, torch.ones(1, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x, self.level)


CHAINS = {
    "convolution": lambda: nn.Conv3d(8, 8, 3, padding=1),
    "wide": lambda: nn.Conv3d(8, 8, 5, padding=2),
    "down": lambda: nn.Sequential(Down(8, 8), nn.Conv3d(8, 8, 3, padding=1)),
    "up": lambda: nn.Sequential(nn.Conv3d(8, 8, 3, padding=1), Up(8, 8), nn.Conv3d(8, 8, 3, padding=1)),
    "block": lambda: Levelled(LevelledBlock(8, 4)),
    "strided": lambda: nn.Sequential(nn.Conv3d(8, 8, 4, 4), nn.ConvTranspose3d(8, 8, 2, 2)),
}


@pytest.mark.parametrize("name", CHAINS)
def test_the_reach_is_what_the_layers_see_and_no_more(name: str) -> None:
    """A voxel outside of what a box needs changes nothing in it, bit for bit; those just within do, along every axis."""
    module = shaken(CHAINS[name]())
    chain = chain_of(module.block if isinstance(module, Levelled) else module)
    finer, coarser = ratio(chain)
    x = torch.randn(1, 8, 32, 32, 32, generator=torch.Generator().manual_seed(0)).requires_grad_()
    start, stop = (12 * finer // coarser, 20 * finer // coarser)
    out = module(x)
    box = (slice(start, stop),) * 3
    (influence,) = torch.autograd.grad(out[(..., *box)].square().sum(), x)
    low, high = needed(chain, (start, stop))
    seen = influence.abs().sum((0, 1))
    inside = torch.zeros_like(seen)
    inside[low:high, low:high, low:high] = 1
    assert float((seen * (1 - inside)).abs().max()) == 0
    for axis in range(3):
        line = seen.movedim(axis, 0).flatten(1).sum(1)
        assert float(line[low]) > 0
        assert float(line[high - 1]) > 0


def test_the_reach_of_detail_is_what_its_net_sees() -> None:
    """The whole net: the halo of its passes adds up to the reach of its layers, and nothing beyond has an influence."""
    grid = (160, 16, 16)
    detail = Detail(DetailConfig(widths=(8, 8, 8), blocks=1), 1, 2, grid)
    shaken(detail)
    seen = numbers(1, detail.net.into.in_channels // 8, *grid).requires_grad_()
    level = torch.ones(1, 8)
    out = detail.net(seen, level, [(0, 0, 0)])
    (influence,) = torch.autograd.grad(out[:, :, 80:88].square().sum(), seen)
    net = detail.net
    parts = [net.first[0], net.down[0], net.first[1], net.down[1], *net.middle, net.up[0], net.last[0], net.up[1]]
    chain = (Coarser(2), *itertools.chain(*map(chain_of, [*parts, net.last[1], net.out])), Finer(2))
    low, high = needed(chain, (80, 88))
    along = influence.abs().sum((0, 1, 3, 4))
    assert float(along[:low].sum() + along[high:].sum()) == 0
    assert float(along[low]) > 0


def test_a_layer_whose_reach_is_not_known_is_refused() -> None:
    with pytest.raises(TypeError, match="how far Dropout sees is not known"):
        chain_of(nn.Dropout())
    with pytest.raises(TypeError, match="has no tiles"):
        chain_of(nn.Conv3d(1, 1, 3))


def test_a_norm_has_the_statistics_of_the_whole() -> None:
    norm = shaken(nn.GroupNorm(2, 8))
    assert isinstance(norm, nn.GroupNorm)
    # a mean far from 0 is where sums of squares lose digits
    x = 100 + numbers(2, 8, 19, 6, 7)
    torch.testing.assert_close(GroupScale.of(norm, x)(x), norm(x), rtol=0, atol=2e-4)
    torch.testing.assert_close(GroupScale.of(norm, x - 100)(x - 100), norm(x - 100), rtol=0, atol=1e-5)


def test_a_residual_block_may_overwrite_what_it_gets_and_nothing_else() -> None:
    block = shaken(ResidualBlock(8))
    x = torch.randn(1, 8, 12, 20, 16, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        close(passed(block, x.clone(), 8), block(x))


def test_what_is_added_is_added_once() -> None:
    x, out = numbers(1, 1, 16, 16, 16), torch.ones(1, 1, 16, 16, 16)
    in_tiles(lambda box: x[(..., *box)], (Near(1),), (16, 16, 16), out, side=5, add=True)
    torch.testing.assert_close(out, 1 + x)


def test_small_volumes_stay_in_one_piece_and_gradients_never_meet_tiles() -> None:
    with torch.inference_mode():
        assert not large.pays((96, 112, 112))
        assert not large.pays((96, 80, 144))
        assert large.pays((192, 224, 224))
    assert not large.pays((192, 224, 224))


def test_space_to_depth_is_cut_as_a_map_is() -> None:
    x = numbers(1, 2, 8, 8, 16)
    cut = space_to_depth(x[..., 4:8, 2:6, 8:16])
    assert torch.equal(cut, space_to_depth(x)[..., 2:4, 1:3, 4:8])
