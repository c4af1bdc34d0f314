"""The command ``vs-paragonsr2``.

Each of its words is a module with ``add_to``, which describes the word's arguments, and ``run``, which does what they ask for.
What takes long to import, as PyTorch, is imported by ``run``, so that ``--help`` answers at once.
"""

import argparse
import sys
from collections.abc import Sequence

from ..support.errors import ParagonSR2Error
from . import backends, cache, doctor, evaluate, explain, export, train


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command. It ends the process with a message and status 1 where something cannot be used, or is not installed."""
    parser = argparse.ArgumentParser(prog="vs-paragonsr2", description="ParagonSR2 for VapourSynth")
    words = parser.add_subparsers(dest="word", required=True, metavar="WORD")
    for module in (backends, cache, doctor, evaluate, explain, export, train):
        module.add_to(words)
    parser.set_defaults(extra=None)
    parsed = parser.parse_args(arguments)
    try:
        parsed.run(parsed)
    except ParagonSR2Error as error:
        sys.exit(f"vs-paragonsr2: {error}")
    except ImportError as error:
        if parsed.extra is None or (error.name or "").partition(".")[0] in ("", "vs_paragonsr2"):
            raise
        sys.exit(f"vs-paragonsr2: {parsed.word}: {error}; pip install 'vs_paragonsr2[{parsed.extra}]' brings it")
