"""What several rooms ask of the values that users give."""

import os
import stat
import sys
from numbers import Integral, Real
from pathlib import Path

from .errors import ParagonSR2Error

MAX_CHECKPOINT_BYTES = 256 * 2**20
"""The largest checkpoint that is opened: seven times the largest network (pro at 8x) in float64."""

ALPHA_RANGE = "a number from 0 to 100"
"""1 replaces the picture by its low-pass; much more than the few tenths in use would only overflow."""


def shown(name: str) -> str:
    """A stranger's words as they may be shown: short, and harmless to a terminal."""
    return ascii(name[:80])[1:-1]


def is_alpha(value: object) -> bool:
    """Whether a value can be the blend of the base path's low-pass."""
    return _is_within(value, 0, 100)


def _is_within(value: object, least: float, most: float) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and least <= value <= most  # type: ignore[operator]


def whole_number(parameter: str, value: object, least: int, most: int | None = None) -> int:
    """The value as an int. Raises ParagonSR2Error where it is no whole number from ``least`` to ``most``; None has no end."""
    number = int(value) if isinstance(value, Integral) and not isinstance(value, bool) else None
    if number is None or number < least or (most is not None and number > most):
        bounds = f"of {least} or more" if most is None else f"from {least} to {most}"
        raise ParagonSR2Error(f"{parameter} is {value!r}: expected a whole number {bounds}")
    return number


def number(parameter: str, value: object, least: float) -> float:
    """The value as a float. Raises ParagonSR2Error where it is no finite number of ``least`` or more."""
    if not _is_within(value, least, sys.float_info.max):
        raise ParagonSR2Error(f"{parameter} is {value!r}: expected a number of {least} or more")
    return float(value)  # type: ignore[arg-type]


def checkpoint_file(parameter: str, value: str | os.PathLike[str]) -> Path:
    """The absolute path of a regular file of a checkpoint's size. Nothing is opened, and a link keeps its own name.

    Raises ParagonSR2Error where there is none, or one that is empty or too large.
    """
    name = path_name(parameter, value)
    try:
        path = Path(name).expanduser().absolute()
        status = path.stat()
    except UnicodeEncodeError as error:
        encoding = sys.getfilesystemencoding()
        raise ParagonSR2Error(f"{parameter} is {name!a}: the system's encoding, {encoding}, has no such characters") from error
    except (OSError, ValueError, RuntimeError) as error:
        raise ParagonSR2Error(f"{parameter} is {name!r}: there is no such file ({error})") from error
    if not stat.S_ISREG(status.st_mode):
        raise ParagonSR2Error(f"{parameter} is {name!r}: expected a regular file")
    if status.st_size > MAX_CHECKPOINT_BYTES:
        size, most = status.st_size / 2**20, MAX_CHECKPOINT_BYTES >> 20
        raise ParagonSR2Error(f"{parameter} is {name!r}: {size:.0f} MiB, and no ParagonSR2 checkpoint is larger than {most} MiB")
    if not status.st_size:  # as the files of /proc, which may never end
        raise ParagonSR2Error(f"{parameter} is {name!r}: the file is empty")
    return path


def path_name(parameter: str, value: object) -> str:
    """The text of a path. Raises ParagonSR2Error for what is neither text nor a path, and for a path that has no text."""
    if isinstance(value, str | os.PathLike):
        try:
            return os.fsdecode(value)
        except Exception as error:  # a stranger's class can raise anything
            raise ParagonSR2Error(f"{parameter} is a {type(value).__name__} whose path cannot be had ({error})") from error
    raise ParagonSR2Error(f"{parameter} is {value!r}: expected a name or the path of a checkpoint")
