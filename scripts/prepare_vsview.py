"""Find or fetch what vsview loads and a machine without a desktop lacks: PulseAudio's library, for sound that no test plays.

python3 scripts/prepare_vsview.py

It comes from the packages of this machine's own Debian, by Debian's own tools. Nothing is installed: it is kept in the user's
cache folder.
"""

import ctypes
import os
import platform
import shutil
from pathlib import Path

from bootstrap import Arguments, run_inside
from prepare_mpv import Unavailable, kept, run

LIBRARY, PACKAGE = "libpulse.so.0", "libpulse0"
STATUS = Path("/var/lib/dpkg/status")


def library_path() -> str:
    """The folders, for LD_LIBRARY_PATH, in which vsview finds what the system lacks. Raises Unavailable."""
    folders = [os.environ["LD_LIBRARY_PATH"]] if os.environ.get("LD_LIBRARY_PATH") else []
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        system = f"{platform.freedesktop_os_release()['PRETTY_NAME']} {platform.machine()}"
        root = kept("vsview", Path(__file__).read_bytes() + system.encode(), _fetch)
        folders += sorted({str(library.parent) for library in root.glob("usr/lib/**/*.so*")})
    return ":".join(folders)


def _fetch(work: Path) -> Path:
    """Fetch and unpack the package, and what it needs and this machine lacks. None of it is configured."""
    missing = [name for name in ("apt-get", "dpkg-deb") if not shutil.which(name)]
    if missing:
        raise Unavailable(f"vsview needs {LIBRARY}, which Debian has in {PACKAGE}; to fetch it: {', '.join(missing)}")
    for name in ("lists/partial", "archives/partial"):
        (work / name).mkdir(parents=True)
    options = [f"-oDir::{name}={value}" for name, value in {"State": work, "State::status": STATUS, "Cache": work}.items()]
    apt = ["apt-get", "-q", "-y", *options, "-oAPT::Sandbox::User=", "-oAPT::Install-Recommends=false"]
    run(*apt, "update")
    run(*apt, "install", "--download-only", PACKAGE)
    root = work / "root"
    for package in (work / "archives").glob("*.deb"):
        run("dpkg-deb", "-x", package, root)
    return root


def main() -> None:
    Arguments(__doc__).parse_args()
    run_inside("test")
    print(library_path())


if __name__ == "__main__":
    main()
