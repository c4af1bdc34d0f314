"""What several rooms ask of the numbers that users give."""

from numbers import Integral, Real

from .errors import ParagonSR2Error

ALPHA_RANGE = "a number from 0 to 100"
"""1 replaces the picture by its low-pass; much more than the few tenths in use would only overflow."""


def is_alpha(value: object) -> bool:
    """Whether a value can be the blend of the base path's low-pass."""
    return isinstance(value, Real) and not isinstance(value, bool) and 0 <= value <= 100  # type: ignore[operator]


def whole_number(parameter: str, value: object, least: int) -> int:
    """The value as an int. Raises ParagonSR2Error where it is no whole number of ``least`` or more."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ParagonSR2Error(f"{parameter} is {value!r}: expected a whole number of {least} or more")
    return int(value)
