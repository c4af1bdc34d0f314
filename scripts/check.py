"""Set up what is needed and run every check: style, types, tests. Further arguments go to pytest.

python3 scripts/check.py
"""

import subprocess
import sys

from bootstrap import ROOT, run_inside


def main() -> None:
    run_inside("test")
    commands = [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"], ["pytest", *sys.argv[1:]]]
    # All of them, so that one run says all there is to mend; pytest last, its summary closes the output.
    codes = [subprocess.run([sys.executable, "-m", *command], cwd=ROOT, check=False).returncode for command in commands]
    sys.exit(max(codes))


if __name__ == "__main__":
    main()
