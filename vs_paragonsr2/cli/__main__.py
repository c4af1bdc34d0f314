"""``python -m vs_paragonsr2.cli``."""

from . import main

main()
