"""Films of many sizes and formats that every process makes alike, and digests of their frames."""

import hashlib
import random
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import vapoursynth as vs
from bootstrap import ROOT
from numpy.typing import NDArray

from vs_paragonsr2 import upscale
from vs_paragonsr2.clip.frames import planes_of

SCALE = 2
"""The scale of ``MODEL``."""

MODEL = "realtime"

SIZES = 40
"""How many films are painted, each in a size of its own."""

LARGEST = (176, 144)
"""Width and height of the largest painted film: thousands of such frames fit into a minute."""

FORMATS = (vs.YUV420P8, vs.YUV420P10, vs.YUV422P8, vs.YUV444P16, vs.GRAY8)
"""Formats of the painted films. A y4m stream can have each of them."""

FPS = 60
"""The rate of the painted films."""

SCENE = 24
"""Frames from one cut to the next. A painted film has two scenes."""

STILL = 8
"""So many frames of each scene show one picture. After those, every picture is shown twice, as in animation on twos."""


@dataclass(frozen=True, slots=True)
class Film:
    """A clip that is known by its number in ``FILMS``."""

    number: int
    width: int
    height: int
    format: vs.PresetVideoFormat
    fps: float = FPS
    length: int = 2 * SCENE
    path: Path | None = None
    """The file that is decoded; None for a film that is painted."""

    def __str__(self) -> str:
        return f"film {self.number} ({self.width}x{self.height} {self.format.name})"

    def source(self) -> vs.VideoNode:
        """The clip before it is upscaled. Each frame says its number in the property ``number``."""
        if self.path is None:
            clip = vs.core.std.BlankClip(
                format=self.format, width=self.width, height=self.height, length=self.length, fpsnum=FPS, fpsden=1, keep=True
            )
            clip = clip.std.ModifyFrame(clip, partial(_painted, self))
        else:
            clip = vs.core.bs.VideoSource(str(self.path), cachemode=0, showprogress=False)[: self.length]
        return clip.std.ModifyFrame(clip, _numbered)

    def upscaled(self, temporal: int, *, repeats: bool = True) -> vs.VideoNode:
        """The clip as a script that is run anew upscales it. VapourSynth keeps no frame of it for those who ask again: they are few
        enough to be kept all, as those of a usual film are not.
        """
        result = upscale(self.source(), MODEL, temporal=temporal, repeats=repeats)
        result.std.SetVideoCache(mode=0)
        return result

    @property
    def frame_bytes(self) -> int:
        """Bytes of an upscaled frame."""
        fmt = vs.core.get_video_format(self.format)
        luma = SCALE**2 * self.width * self.height
        chroma = (fmt.num_planes - 1) * (luma >> fmt.subsampling_w + fmt.subsampling_h)
        return (luma + chroma) * fmt.bytes_per_sample


def _films() -> tuple[Film, ...]:
    """Painted films of distinct sizes, whose sides are even where chroma is subsampled along them, and the clip that ships."""
    rng, sizes = random.Random(SIZES), set[tuple[int, int]]()
    films: list[Film] = []
    while len(films) < SIZES:
        number = len(films)
        fmt = FORMATS[number % len(FORMATS)]
        even_columns, even_rows = fmt != vs.YUV444P16 and fmt != vs.GRAY8, fmt in (vs.YUV420P8, vs.YUV420P10)
        width = rng.randrange(16, LARGEST[0] + 1, 1 + even_columns)
        height = rng.randrange(16, LARGEST[1] + 1, 1 + even_rows)
        if (width, height) not in sizes:
            sizes.add((width, height))
            films.append(Film(number, width, height, fmt))
    shipped = ROOT / "tests/clips/city_720x405.mpg"
    return (*films, Film(SIZES, 720, 404, vs.YUV420P8, 25, 12, shipped))


FILMS = _films()
"""The painted films, and last the clip that ships."""


def _painted(film: Film, n: int, f: vs.VideoFrame) -> vs.VideoFrame:
    """Frame n: noise that moves to the right, dark before the cut and bright after it."""
    scene, since = divmod(n, SCENE)
    out = f.copy()
    for plane, samples in enumerate(planes_of(out)):
        least = (16, 128)[scene] << out.format.bits_per_sample - 8
        noise = _noise(film.number, scene, plane, samples.shape, out.format.bits_per_sample)
        samples[...] = least + np.roll(noise, max(0, since - STILL) // 2, axis=1)
    return out


@lru_cache(maxsize=8)
def _noise(film: int, scene: int, plane: int, shape: tuple[int, int], bits: int) -> NDArray[np.unsignedinteger]:
    rng = np.random.default_rng((film, scene, plane))
    return rng.integers(0, 100 << bits - 8, shape, np.uint8 if bits == 8 else np.uint16)


def _numbered(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
    out = f.copy()
    out.props.update(number=n)
    return out


def digest_of(frame: vs.VideoFrame) -> str:
    """The digest of a frame's planes, one after the other."""
    return digest(np.ascontiguousarray(plane) for plane in planes_of(frame))


def digest(parts: Iterable[Any]) -> str:
    """The digest of bytes that may come in several parts, in hexadecimal digits."""
    found = hashlib.blake2b(digest_size=16)
    for part in parts:
        found.update(part)
    return found.hexdigest()
