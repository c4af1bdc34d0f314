"""The one exception of the project."""


class ParagonSR2Error(ValueError):
    """Input that cannot be used. The message names the parameter, the value and what would be right."""
