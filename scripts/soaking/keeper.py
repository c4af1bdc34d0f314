"""A process that keeps a measured speed so many times, as ``vs-paragonsr2 doctor`` does once, then upscales a frame.

    python -m soaking.keeper TIMES FILM

It says each time that it has kept one. At last it says whether the speed can be read again, and the digest of the frame.
"""

import sys

from vs_paragonsr2 import upscale
from vs_paragonsr2.checkpoints.models import find_model
from vs_paragonsr2.clip.speed import Speed, keep_speed, known_speed

from .films import FILMS, digest_of


def main() -> None:
    times, film = map(int, sys.argv[1:])
    model = find_model("stream", 2)
    for number in range(1, times + 1):
        keep_speed(model, None, {}, Speed(number))  # so slow that "auto" takes the model of the films
        print(number, flush=True)
    with upscale(FILMS[film].source(), "auto").get_frame(0) as frame:
        print(known_speed(model, None, {}) is not None, digest_of(frame))


if __name__ == "__main__":
    main()
