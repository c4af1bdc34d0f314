"""Set up what is needed, upscale the clip that ships with the project, and say where the results are.

python3 scripts/demo.py [CLIP] [--out FOLDER]
"""

import shutil
import subprocess
import sys
from pathlib import Path

from bootstrap import ROOT, Arguments, has_nvidia_driver, program, run_inside


def main() -> None:
    parser = Arguments(__doc__)
    parser.add_argument("clip", type=Path, nargs="?", default=ROOT / "tests/clips/flower_960x540.mp4")
    parser.add_argument("--out", type=Path, default=ROOT / "out", help="folder of the results (default: %(default)s)")
    arguments = parser.parse_args()
    if not arguments.clip.is_file():
        parser.error(f"CLIP is {arguments.clip}: there is no such file")
    run_inside("demo", *(["cuda"] if has_nvidia_driver() else []))
    arguments.out.mkdir(parents=True, exist_ok=True)
    video = arguments.out / f"{arguments.clip.stem}_2x.mkv"
    picture = arguments.out / f"{arguments.clip.stem}_2x.png"
    print(f"Upscaling {arguments.clip} ...", flush=True)
    encode(arguments.clip.resolve(), video)
    compare(arguments.clip.resolve(), picture)
    print(f"Video:         {video}")
    print(f"Side by side:  {picture}  (left: bicubic, right: ParagonSR2)")


def ffmpeg() -> str:
    """The path of the ffmpeg on PATH, or else of imageio-ffmpeg's."""
    import imageio_ffmpeg

    return shutil.which("ffmpeg") or imageio_ffmpeg.get_ffmpeg_exe()


def encode(clip: Path, video: Path) -> None:
    """Have vspipe write into ffmpeg, as the README shows it. The sound is taken from the clip."""
    script = ROOT / "scripts/samples/encode.vpy"
    with subprocess.Popen(
        [program("vspipe"), "-c", "y4m", "-p", "-a", f"source={clip}", script, "-"], stdout=subprocess.PIPE
    ) as vspipe:
        encoder = [ffmpeg(), "-y", "-v", "error", "-i", "-", "-i", clip, "-map", "0:v", "-map", "1:a?", "-c:a", "copy"]
        encoded = subprocess.run([*map(str, encoder), "-c:v", "libx264", "-crf", "16", video], stdin=vspipe.stdout, check=False)
        assert vspipe.stdout is not None
        vspipe.stdout.close()
    if vspipe.returncode or encoded.returncode:
        sys.exit(f"demo: vspipe ended with {vspipe.returncode} and ffmpeg with {encoded.returncode}; their words are above")


def compare(clip: Path, picture: Path, side: int = 320) -> None:
    """Show the most detailed place of the first frame by bicubic and by the network, side by side at twice its size."""
    import numpy as np
    import vapoursynth as vs

    from vs_paragonsr2 import upscale

    source = vs.core.bs.VideoSource(str(clip), showprogress=False)[0]
    upscaled = upscale(source, model="realtime", scale=2)
    matrix = {} if source.get_frame(0).props.get("_Matrix", 2) != 2 else {"matrix_in": 6 if source.height <= 576 else 1}
    frames = []
    for enlarged in (source.resize.Bicubic(upscaled.width, upscaled.height), upscaled):
        frame = enlarged.resize.Bicubic(format=vs.RGB24, **matrix).get_frame(0)
        frames.append(np.stack([np.asarray(frame[plane]) for plane in range(3)], axis=2))
    height, width = frames[0].shape[:2]
    step = side // 4
    places = [(y, x) for y in range(0, max(1, height - side), step) for x in range(0, max(1, width - side), step)]
    change = np.abs(np.diff(frames[1].mean(2), axis=1))
    top, left = max(places, key=lambda place: change[place[0] : place[0] + side, place[1] : place[1] + side].mean())
    both = np.hstack([frame[top : top + side, left : left + side] for frame in frames])
    twice = both.repeat(2, axis=0).repeat(2, axis=1)
    raw = ["-f", "rawvideo", "-pixel_format", "rgb24", "-video_size", f"{twice.shape[1]}x{twice.shape[0]}"]
    subprocess.run([ffmpeg(), "-y", "-v", "error", *raw, "-i", "-", str(picture)], input=twice.tobytes(), check=True)


if __name__ == "__main__":
    main()
