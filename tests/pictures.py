"""Pictures that tests of the evaluation measure."""

import numpy as np
from conftest import CLIPS

from vs_paragonsr2.evaluation.crops import detailed_place
from vs_paragonsr2.evaluation.metrics import Picture
from vs_paragonsr2.evaluation.video import read_scene, to_rgb


def noise(height: int, width: int, seed: int = 0) -> Picture:
    """(height, width, 3), uniform."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def clip_picture(side: int = 192) -> Picture:
    """The most detailed part of the committed clip's first frame."""
    scene = read_scene(CLIPS / "flower_960x540.mp4", 2, 1)
    picture = to_rgb(next(scene.high()), scene.colour)
    return picture[detailed_place(picture, side, side)]
