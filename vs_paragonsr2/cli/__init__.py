"""The command ``vs-paragonsr2``. Each of its words is a room with ``add_to`` and ``run``."""

import argparse
import sys
from collections.abc import Sequence

from ..support.errors import ParagonSR2Error
from . import cache, doctor, explain


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; ends the process with a message where something cannot be used."""
    parser = argparse.ArgumentParser(prog="vs-paragonsr2", description="ParagonSR2 for VapourSynth")
    words = parser.add_subparsers(required=True, metavar="WORD")
    for room in (cache, doctor, explain):
        room.add_to(words)
    parsed = parser.parse_args(arguments)
    try:
        parsed.run(parsed)
    except ParagonSR2Error as error:
        sys.exit(f"vs-paragonsr2: {error}")
