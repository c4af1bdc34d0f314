"""A run of minutes or hours as players and encoders make one: the films, the acts, what is measured, and the report."""

ACTS = ("play", "seeks", "sizes", "kills", "full-disks")
"""The names of the acts. What they do is in ``player`` and ``encoder``, which need the package to be installed."""
