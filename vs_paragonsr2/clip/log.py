"""VapourSynth's log."""

from functools import lru_cache

import vapoursynth as vs


@lru_cache(maxsize=64)
def log_once(message: str) -> None:
    """Log a message once in the process: a player runs its script again at each seek."""
    vs.core.log_message(vs.MESSAGE_TYPE_INFORMATION, message)
