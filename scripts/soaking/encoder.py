"""Acts of encoders: vspipe in processes of its own, which are killed or run against a full disk, and are then run again."""

import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from bootstrap import ROOT, program

from vs_paragonsr2.support.cache_folder import FOLDER_VARIABLE, cache_folder

from .checker import Checker
from .films import FILMS, Film, digest
from .player import TEMPORAL

SCRIPTS = ROOT / "scripts"

FRAME = b"FRAME\n"
"""What stands before each frame in a y4m stream."""

KEPT = 50
"""How often a keeper keeps a speed."""

LIMITED = """
import os, resource, signal, sys
limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
os.execv(sys.argv[2], sys.argv[2:])
"""
"""The double of a full disk: whoever writes more than ``limit`` bytes into a file is refused (EFBIG in place of ENOSPC)."""

HAS_LIMITS = sys.platform != "win32"
"""Whether the system has the double of a full disk."""


def kills(checker: Checker, rng: random.Random) -> None:
    """Kill an encoder in the middle of a film, and a process while it writes into the cache; run both again, whole."""
    film, temporal = rng.choice(FILMS), rng.choice((0, TEMPORAL))
    checker.prepare(film, temporal)
    encode(checker, film, temporal, kill_after=rng.randrange(1, film.length))
    encode(checker, film, temporal)
    keep(checker, film, kill_after=rng.randrange(1, KEPT))
    keep(checker, film)


def full_disks(checker: Checker, rng: random.Random) -> None:
    """Encode into a file on a full disk, and whole; use a cache on a full disk."""
    film, temporal = rng.choice(FILMS), rng.choice((0, TEMPORAL))
    checker.prepare(film, temporal)
    encode_into_a_file(checker, film, temporal, limit=rng.randrange(film.length) * film.frame_bytes + film.frame_bytes // 2)
    encode_into_a_file(checker, film, temporal)
    keep(checker, film, limit=16)  # an entry is longer


def encode(checker: Checker, film: Film, temporal: int, kill_after: int | None = None) -> None:
    """Read what vspipe writes into a pipe; where ``kill_after`` says so, kill it after so many frames."""
    with _started(_vspipe(film, temporal, "-")) as process:
        assert process.stdout is not None
        count = 0
        for found in y4m_digests(process.stdout, film):
            checker.digest(film, temporal, count, found)
            count += 1
            if count == kill_after:
                process.kill()
                return
        words = _words(process)
    if process.returncode != 0 or count != film.length:
        checker.fault(f"{film}: vspipe ended with {process.returncode} after {count} frames: {words}")


def encode_into_a_file(checker: Checker, film: Film, temporal: int, limit: int | None = None) -> None:
    """Let vspipe write into a file, of ``limit`` bytes at most: what is in it must be right, and vspipe must fail at the limit."""
    with tempfile.NamedTemporaryFile(suffix=".y4m") as out:
        with _started(_vspipe(film, temporal, out.name), limit) as process:
            words = _words(process)
        count = 0
        for found in y4m_digests(out.file, film):
            checker.digest(film, temporal, count, found)
            count += 1
    is_whole = limit is None
    if is_whole != (process.returncode == 0) or is_whole != (count == film.length):
        checker.fault(f"{film}, file of {limit} bytes: vspipe ended with {process.returncode} after {count} frames: {words}")


def keep(checker: Checker, film: Film, kill_after: int | None = None, limit: int | None = None) -> None:
    """Run ``soaking.keeper`` on the cache of this process; with a limit, on a folder beside it where no entry fits into a file."""
    checker.prepare(film, 0, [0])
    folder = cache_folder() if limit is None else cache_folder().with_name("full")
    command = [sys.executable, "-B", "-P", "-m", "soaking.keeper", str(KEPT if limit is None else 1), str(film.number)]
    with _started(command, limit, folder) as process:
        assert process.stdout is not None
        line = b""
        for count, line in enumerate(process.stdout, 1):  # noqa: B007 (the last line is looked at)
            if count == kill_after:
                process.kill()
                return
        words = _words(process)
    is_known, _, found = line.decode().strip().partition(" ")
    if process.returncode != 0 or is_known != str(limit is None):
        checker.fault(f"the keeper ended with {process.returncode} and said {line!r}: {words}")
    else:
        checker.digest(film, 0, 0, found)
    if left := sorted(path.name for path in folder.glob("*.part")):
        checker.fault(f"the keeper left {', '.join(left)}")


def y4m_digests(stream: IO[bytes], film: Film) -> Iterator[str]:
    """The digests of the whole frames in a y4m stream of an upscaled film. Nothing comes of what is no y4m stream."""
    if not stream.readline().startswith(b"YUV4MPEG2 "):
        return
    size = len(FRAME) + film.frame_bytes
    while len(block := stream.read(size)) == size and block.startswith(FRAME):
        yield digest([memoryview(block)[len(FRAME) :]])


def _vspipe(film: Film, temporal: int, output: str) -> list[str]:
    script = SCRIPTS / "soaking/encode.vpy"
    arguments = ["-c", "y4m", "-a", f"film={film.number}", "-a", f"temporal={temporal}", str(script), output]
    return [str(program("vspipe")), *arguments]


def _started(command: list[str], limit: int | None = None, cache: Path | None = None) -> subprocess.Popen[bytes]:
    """A process that imports this checkout, with a limit for the size of its files, and another folder for its cache."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, SCRIPTS)))}
    if cache is not None:
        environment[FOLDER_VARIABLE] = str(cache)
    if limit is not None:
        command = [sys.executable, "-c", LIMITED, str(limit), *command]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)


def _words(process: subprocess.Popen[bytes]) -> str:
    """Wait for the end of a process. The last words that it has said on stderr, of which there are few."""
    assert process.stderr is not None
    return process.stderr.read().decode(errors="replace").strip()[-500:]
