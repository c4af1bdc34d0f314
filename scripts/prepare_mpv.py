"""Find or build the programs that the tests play films with: mpv with VapourSynth, and Xvfb, a display without a screen.

python3 scripts/prepare_mpv.py

What is not on PATH is built from Debian 13's packages and its source of mpv, by Debian's own tools, from the mirror that this
machine uses. Nothing is installed and no rights are needed but those to make a user namespace. It takes some two minutes, once:
the result is kept in the user's cache folder.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bootstrap import Arguments, run_inside

SUITE = "trixie"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
TOOLS = ("apt-get", "dpkg-deb", "tar", "unshare", "chroot", "mount")

COMPILER = "base-files libc-bin libc6-dev coreutils dash gcc meson pkgconf"
LIBRARIES = "libass-dev libavfilter-dev libavformat-dev libluajit-5.1-dev libplacebo-dev libswresample-dev"
DISPLAY = "libx11-dev libxext-dev libxpresent-dev libxrandr-dev libxss-dev xvfb"

MESON = "-Dauto_features=disabled -Dvapoursynth=enabled -Dlua=enabled -Dx11=enabled -Dgl=disabled -Dlibmpv=false"
BUILD = f"""
set -e
export CC=gcc PKG_CONFIG_PATH=/vapoursynth
ldconfig
meson setup {MESON} -Doptimization=1 -Ddebug=false /mpv-build /mpv
ninja -C /mpv-build mpv
cp /mpv-build/mpv /usr/bin/mpv
"""

PROGRAMS = ("mpv", "Xvfb", "xkbcomp", "sh")
"""The programs in ``usr/bin`` that are kept, with the libraries that they load. Xvfb runs xkbcomp by the shell."""
KEYBOARD = "usr/share/X11/xkb"


class Unavailable(RuntimeError):
    """The programs are not here and cannot be built here; says what is needed."""


def mpv_command() -> list[str]:
    """The words that start an mpv whose VapourSynth runs on this Python. Raises Unavailable."""
    found = shutil.which("mpv")
    if found and _plays_with_this_python(found):
        return [found]
    root = _built()
    loader = next((root / "usr/lib").glob("*/ld-linux*.so.*"))
    # Debian's loader and libraries, of this machine only what is loaded by its path: Python and VapourSynth.
    libraries = [*_library_folders(root), _vapoursynth_folder()]
    return [str(loader), "--library-path", ":".join(map(str, libraries)), str(root / "usr/bin/mpv")]


def xvfb_command() -> list[str]:
    """The words that start Xvfb. It may live in a folder of its own, so clients need ``-listen tcp``. Raises Unavailable."""
    found = shutil.which("Xvfb")
    return [found] if found else ["unshare", "--map-root-user", f"--root={_built()}", "/usr/bin/Xvfb"]


def _vapoursynth_folder() -> Path:
    import vapoursynth

    return Path(vapoursynth.__file__).parent


def _plays_with_this_python(mpv: str) -> bool:
    """Whether an mpv has the filter, and the filter this package. A system's mpv mostly has a VapourSynth and Python of its own."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "probe.vpy")
        script.write_text(
            f"import sys, vs_paragonsr2\nassert sys.prefix == {sys.prefix!r}\nvideo_in.set_output()\n", encoding="utf-8"
        )
        source = "av://lavfi:testsrc=duration=0.1:size=64x64,format=yuv420p"
        options = ["--no-config", "--vo=null", "--msg-level=all=error", f"--vf=vapoursynth={script}"]
        done = subprocess.run([mpv, *options, source], capture_output=True, check=False)
        return done.returncode == 0 and not done.stdout + done.stderr


def _built() -> Path:
    """The folder with the built programs, made at the first call. Raises Unavailable."""
    return kept("mpv", Path(__file__).read_bytes() + platform.machine().encode(), _build)


def kept(name: str, described: bytes, build: Callable[[Path], Path]) -> Path:
    """A folder in the user's cache, made at the first call.

    Args:
        name: the beginning of the folder's name.
        described: all that decides what is in the folder.
        build: makes the folder inside the one that it is given to work in, and returns its path.
    """
    import filelock
    import platformdirs

    key = hashlib.sha256(described).hexdigest()[:16]
    folder = Path(platformdirs.user_cache_dir("vs_paragonsr2-tests", appauthor=False), f"{name}-{key}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(f"{folder}.lock"):
        if not folder.exists():
            print(f"Preparing {name} in {folder}, once", file=sys.stderr)
            # Beside it, so that what is complete is moved there in one step.
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix="build-") as work:
                build(Path(work)).rename(folder)
    return folder


def _build(work: Path) -> Path:
    mirror = _debian_mirror()
    root = work / "root"
    root.mkdir()
    packages = _download(work, mirror)
    _unpack(packages, root)
    (root / "mpv").mkdir()
    run("tar", "-xf", next(work.glob("mpv_*.orig.tar.*")), "-C", root / "mpv", "--strip-components=1")
    _lay_out_vapoursynth(root / "vapoursynth")
    listed = "".join(f"/{folder.relative_to(root)}\n" for folder in _library_folders(root))
    (root / "etc/ld.so.conf.d/alternatives.conf").write_text(listed, encoding="utf-8")
    _inside(root, BUILD)
    return _keep_what_runs(root, work / "kept")


def _debian_mirror() -> str:
    """The mirror of this machine's own packages. Raises Unavailable where that is not Debian, or its tools are missing."""
    missing = [name for name in TOOLS if not shutil.which(name)]
    release = platform.freedesktop_os_release() if sys.platform == "linux" else {}
    if missing or release.get("ID") != "debian" or not KEYRING.exists():
        lacks = ", ".join(missing) or "a Debian system with its archive keyring"
        raise Unavailable(f"mpv 0.40 or newer with VapourSynth on this Python is needed on PATH, or to build one: {lacks}")
    targets = run("apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages").split("\n")
    uris = [uri for suite, _, uri in (line.partition(" ") for line in targets) if suite == release.get("VERSION_CODENAME")]
    if not uris:
        raise Unavailable(f"a mirror of Debian {release.get('VERSION_CODENAME')} is needed in the sources of apt")
    return uris[0]


def _download(work: Path, mirror: str) -> list[Path]:
    """Fetch the packages and the source. apt checks them against the keyring, with lists and state of their own."""
    for name in ("lists/partial", "archives/partial"):
        (work / name).mkdir(parents=True)
    (work / "status").touch()
    sources = "".join(f"{kind} [signed-by={KEYRING}] {mirror} {SUITE} main\n" for kind in ("deb", "deb-src"))
    (work / "sources.list").write_text(sources, encoding="utf-8")
    folders = {"Etc::SourceList": work / "sources.list", "Etc::SourceParts": "-", "State": work, "State::status": work / "status"}
    options = [f"-oDir::{name}={value}" for name, value in (folders | {"Cache": work}).items()]
    apt = ["apt-get", "-q", "-y", *options, "-oAPT::Sandbox::User=", "-oAPT::Install-Recommends=false"]
    run(*apt, "update")
    run(*apt, "install", "--download-only", *f"{COMPILER} {LIBRARIES} {DISPLAY}".split())
    run(*apt, "source", "--download-only", "mpv", cwd=work)
    return sorted((work / "archives").glob("*.deb"))


def _unpack(packages: list[Path], root: Path) -> None:
    """Unpack the packages without configuring any. The one that makes /lib a link to /usr/lib comes first."""
    base = [package for package in packages if package.name.startswith("base-files_")]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for some in (base, [package for package in packages if package not in base]):
            list(pool.map(lambda package: run("dpkg-deb", "-x", package, root), some))


def _lay_out_vapoursynth(folder: Path) -> None:
    """Lay out the wheel's headers and library, and what pkg-config asks for, of which the wheel has only half."""
    wheel = _vapoursynth_folder()
    shutil.copytree(wheel / "include", folder / "include")
    shutil.copy(wheel / "libvsscript.so", folder)
    for name in ("vapoursynth", "vapoursynth-script"):
        text = f"Name: {name}\nDescription: VapourSynth\nVersion: 74\nCflags: -I/vapoursynth/include\n"
        (folder / f"{name}.pc").write_text(text + "Libs: -L/vapoursynth -lvsscript\n", encoding="utf-8")


def _library_folders(root: Path) -> list[Path]:
    """Where Debian's libraries are, with the ones that it chooses among by links, which nobody has set here."""
    (folder,) = (loader.parent for loader in (root / "usr/lib").glob("*/ld-linux*.so.*"))
    return [folder, folder / "blas", folder / "lapack", folder / "pulseaudio"]


def _inside(root: Path, script: str) -> str:
    """Run a script of the shell with the folder as its root; its mounts are in a namespace that ends with it."""
    mounts = " && ".join(f'mount --rbind /{name} "$0/{name}"' for name in ("dev", "proc"))
    command = f'{mounts} && exec chroot "$0" /bin/sh -c "$1"'
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
    return run("unshare", "--map-root-user", "--mount", "sh", "-c", command, root, script, env=environment)


def _keep_what_runs(root: Path, kept: Path) -> Path:
    """A root with the programs, the libraries that they load, and the keyboard's description for Xvfb."""
    (loader,) = (root / "usr/lib").glob("*/ld-linux*.so.*")
    files = [f"/usr/bin/{name}" for name in PROGRAMS]
    for name in files.copy():
        listed = _inside(root, f"LD_LIBRARY_PATH=/vapoursynth /{loader.relative_to(root)} --list {name}")
        files += [word for word in listed.split() if word.startswith("/") and "vapoursynth" not in word]
    links = {path.name: path.readlink() for path in root.iterdir() if path.is_symlink()}  # as /lib to usr/lib
    for folder in (Path("dev"), Path("tmp"), *links.values()):
        (kept / folder).mkdir(parents=True, exist_ok=True)
    for link, target in links.items():
        (kept / link).symlink_to(target)
    shutil.copytree(root / KEYBOARD, kept / KEYBOARD)
    for name in files:
        copied = kept / name.lstrip("/")
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name.lstrip("/"), copied)
    return kept


def run(*command: object, env: dict[str, str] | None = None, cwd: Path | None = None) -> str:
    """The stdout of a command. Raises Unavailable with the end of what it said where it fails."""
    done = subprocess.run([*map(str, command)], env=env, cwd=cwd, capture_output=True, text=True, encoding="utf-8", check=False)
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise Unavailable(f"{command[0]} ended with {done.returncode}:\n{said}")
    return done.stdout


def main() -> None:
    Arguments(__doc__).parse_args()
    run_inside("test")
    print(*mpv_command())
    print(*xvfb_command())


if __name__ == "__main__":
    main()
