"""Pictures that move: GIF and MP4 (H.264) of frames, each file marked in its metadata."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from engine.vocabulary.refusal import Refusal

#: frames a second of an MP4, as players expect them
RATE = 24
#: greys and colours of a GIF, by how much the channels of a colour differ at least, and the ms in which it counts time
GREYS, COLOURS, COLOURED, TICK = 96, 32, 24, 10

Frame = UInt8[np.ndarray, "high wide 3"]


class MovieError(Refusal):
    """No frames, or frames of different sizes; the message says so."""


def to_gif(frames: Sequence[Frame], milliseconds: float, comment: str) -> bytes:
    """An endless GIF of ``frames``, each shown so long: to the hundredth of a second, the whole as long as all together.

    Raises :class:`MovieError`.
    """
    _check(frames)
    palette = _palette(frames)
    pictures = [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    ends = np.rint(np.arange(len(frames) + 1) * milliseconds / TICK)
    stream = io.BytesIO()
    pictures[0].save(
        stream,
        "GIF",
        save_all=True,
        append_images=pictures[1:],
        duration=[TICK * int(ticks) for ticks in np.diff(ends)],
        loop=0,
        comment=comment.encode(),
    )
    return stream.getvalue()


def to_mp4(frames: Sequence[Frame], milliseconds: float, comment: str) -> bytes:
    """An MP4 of ``frames``, each shown so long; a row or column is added where a size is odd. Raises :class:`MovieError`."""
    from imageio_ffmpeg import write_frames  # brings its own encoder, and is needed by nothing else

    _check(frames)
    high, wide = (size + size % 2 for size in frames[0].shape[:2])
    marks = ["-metadata", f"comment={comment}", "-metadata", f"title={comment}"]
    smooth = ["-r", str(RATE), "-preset", "veryfast", "-movflags", "+faststart", *marks]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "movie.mp4"
        writer = write_frames(
            path, (wide, high), fps=cast(int, 1000 / milliseconds), quality=8, macro_block_size=2, output_params=smooth,
            ffmpeg_log_level="error",
        )  # fmt: skip
        writer.send(None)
        for frame in frames:
            missing = ((0, high - frame.shape[0]), (0, wide - frame.shape[1]), (0, 0))
            writer.send(np.ascontiguousarray(np.pad(frame, missing)))
        writer.close()
        return path.read_bytes()


def _palette(frames: Sequence[Frame]) -> Image.Image:
    """A picture with the palette of all frames: greys evenly, since a tinted grey looks like a finding, and what else is coloured."""
    greys = np.rint(np.linspace(0, 255, GREYS)).astype(np.uint8)
    chosen = np.stack([greys] * 3, 1)
    seen = np.concatenate([frame[::2, ::2].reshape(-1, 3) for frame in frames])
    coloured = seen[np.ptp(seen, axis=1) > COLOURED]
    if len(coloured):
        found = Image.fromarray(coloured[None]).quantize(COLOURS, dither=Image.Dither.NONE).convert("RGB")
        chosen = np.concatenate([chosen, np.unique(np.asarray(found)[0], axis=0)])
    palette = Image.new("P", (1, 1))
    palette.putpalette(chosen.tobytes())
    return palette


def _check(frames: Sequence[Frame]) -> None:
    sizes = {frame.shape for frame in frames}
    if len(sizes) != 1:
        raise MovieError(f"frames of {len(sizes)} sizes make no movie: give one or more of the same size")
