"""``upscale``: checks the clip and the arguments, and builds the VapourSynth nodes."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import lru_cache, partial
from itertools import pairwise
from math import prod
from typing import Any

import vapoursynth as vs

from .arguments import ALPHA_RANGE, is_alpha, number, whole_number
from .backends import Options, Request, candidates, load_backend
from .backends.base import Plane
from .capability import ASSUMED_FPS, choose_model
from .checkpoints.load import parts_of
from .clipspec import ColorimetryReader, plane_format, whole_property
from .colour import ClipSpec, Colorimetry, PlaneFormat
from .errors import ParagonSR2Error
from .frames import new_frame, planes_of, with_properties
from .lateness import Lateness, remedy
from .repeats import Repeats
from .sessions import SESSIONS, AnySession
from .temporal import MOST_FRAMES, averages, begins_scene
from .weights import Model, find_model


def upscale(
    clip: vs.VideoNode,
    model: str | os.PathLike[str] = "realtime",
    *,
    scale: int | None = None,
    backend: str | None = None,
    device: str | None = None,
    device_index: int | Sequence[int] = 0,
    num_streams: int | None = None,
    precision: str | None = None,
    memory_limit: int | None = None,
    tile_size: int | Sequence[int] | None = None,
    wait: bool = False,
    torch_compile: bool = False,
    output_format: int | vs.VideoFormat | None = None,
    matrix: str | int | None = None,
    color_range: str | int | None = None,
    chroma_location: str | int | None = None,
    allow_interlaced: bool = False,
    temporal: int = 0,
    repeats: bool = True,
    alpha: float | None = None,
    playback_fps: float | None = None,
) -> vs.VideoNode:
    """Upscale a clip with ParagonSR2. The clip comes back in its own format, with its own frame properties and timing.

    Args:
        clip: YUV with any subsampling, RGB or GRAY; integers of 8 to 16 bits, half or single floats; constant format and size.
        model: name of a shipped model (``"realtime"``), or the path of a checkpoint (``.safetensors``, ``.pth``). ``"auto"`` is
            stream where this machine can play it, by what ``vs-paragonsr2 doctor`` measured, else realtime.
        scale: factor on each side, 2, 3, 4 or 8; it must be one that the model has. None takes the model's own, the smallest
            where a name stands for several.
        backend: ``"tensorrt"`` or ``"torch"`` for NVIDIA's cards, ``"openvino"`` for everything else, ``"reference"`` for the plain
            network in PyTorch. None takes the first of these that works here.
        device: kind of device: ``"cuda"`` for TensorRT, ``"cuda"`` or ``"cpu"`` for PyTorch and the reference, ``"CPU"``, ``"GPU"``
            or ``"NPU"`` for OpenVINO. None takes the backend's fastest.
        device_index: which device of that kind, from 0; several for TensorRT and PyTorch, which spread the frames over them.
        num_streams: frames computed at once. None chooses.
        precision: of the arithmetic: ``"f32"``, ``"bf16"`` or ``"f16"``. None takes f16 on CUDA devices, and f32 where that does
            not hold the network's numbers; for OpenVINO, where the target has 8 bits, bf16 on a CPU that gains by it and f16 on a
            GPU, else f32; f16 on an NPU.
        memory_limit: MiB that a session may take of each CUDA device; smaller tiles keep to it. None takes what there is.
        tile_size: pixels of the source, (width, height) or one number for both, that are computed at once at most; 0 is the clip's
            own. None takes the whole picture where it fits. Tiles have no seams, except by little for Photo and Pro. OpenVINO
            computes Realtime and Stream in bands of few rows, which ``height`` can make lower; Photo there, and everything in the
            reference, is computed in one piece.
        wait: let the script wait while TensorRT builds an engine, as encoders like it. Otherwise PyTorch serves meanwhile.
        torch_compile: try PyTorch's compiler for backend ``"torch"`` too, which takes minutes, and take it where it is faster.
        output_format: another format of the same colour family, with more bits, floats or other subsampling, as
            ``vs.YUV420P10``. None keeps the clip's.
        matrix: overrides the frames' ``_Matrix``: ``"709"``, ``"170m"``, ``"470bg"``, ``"2020ncl"``, ``"240m"``, ``"fcc"``,
            ``"ycgco"`` or a number of H.273. Without it, frames that do not say are 170m up to 576 lines and 709 above.
        color_range: overrides ``_Range``: ``"limited"`` (the default where frames do not say) or ``"full"`` (for RGB).
        chroma_location: overrides ``_ChromaLocation``: ``"left"`` (the default where frames do not say), ``"center"``,
            ``"top_left"``, ``"top"``, ``"bottom_left"`` or ``"bottom"``.
        allow_interlaced: upscale frames that ``_FieldBased`` calls interlaced as if they were progressive, not refuse them.
        temporal: smooth the detail over so many earlier frames, 10 at most, as the published video mode does; from 5 on the picture
            is its own. 0 does not. Each scene begins anew: as ``_SceneChangePrev`` says where a frame has it, else where the
            picture has little to do with the one before, and where samples change their meaning.
        repeats: compute frames with equal samples once, as animation on twos and telecined streams have them. A frame that is
            answered with another one's planes says in ``ParagonSR2Repeats`` how many of the clip were so far, itself included.
        alpha: blend of the base path's low-pass, for checkpoints that do not carry it. None takes the checkpoint's own.
        playback_fps: frames a second at which a player shows the clip; 0 for the clip's own rate, or 24 where it has none. Where
            frames come too late for that, the log says once what would help, and ``"auto"`` counts with it. None for all that is
            no player: nothing is too late, and ``"auto"`` counts with the clip's own rate.

    Returns:
        The upscaled clip. Its frames do not depend on the order in which they are asked for, save for ``ParagonSR2Repeats``, which
        counts the work that was spared: which of two equal frames is computed depends on which comes first.

    Raises:
        vs.Error: an argument cannot be used; the message names it, its value and what would be right. When a frame is asked
            for: that frame is interlaced, or of a colour matrix that has no linear form.
    """
    with _errors_of_vapoursynth("upscale"):
        source_format = _constant_format(clip)
        source = plane_format(source_format, clip.width, clip.height)
        reader = ColorimetryReader.for_clip(source, matrix=matrix, color_range=color_range, chroma_location=chroma_location)
        if scale is not None:
            scale = whole_number("scale", scale, 2)
        if alpha is not None and not is_alpha(alpha):
            raise ParagonSR2Error(f"alpha is {alpha!r}: expected {ALPHA_RANGE}")
        flags = {"allow_interlaced": allow_interlaced, "repeats": repeats, "wait": wait, "torch_compile": torch_compile}
        for name, flag in flags.items():
            if not isinstance(flag, bool):
                raise ParagonSR2Error(f"{name} is {flag!r}: expected True or False")
        if not isinstance(precision, str | None):
            raise ParagonSR2Error(f"precision is {precision!r}: expected a word such as 'f32', or None to choose")
        if not isinstance(device, str | None):
            raise ParagonSR2Error(f"device is {device!r}: expected a kind of device, such as 'cpu', or None to choose")
        wanted = Options(
            backend=backend or "",
            device=device or "",
            device_index=_device_indices(device_index),
            num_streams=0 if num_streams is None else whole_number("num_streams", num_streams, 1),
            precision=precision,
            memory_limit=None if memory_limit is None else whole_number("memory_limit", memory_limit, 1),
            tile_size=(0, 0) if tile_size is None else _tile_size(tile_size),
            wait=wait,
            torch_compile=torch_compile,
            alpha=None if alpha is None else float(alpha),
        )
        temporal = whole_number("temporal", temporal, 0, MOST_FRAMES)
        if playback_fps is not None:
            playback_fps = number("playback_fps", playback_fps, 0)
        fps = playback_fps or float(clip.fps) or ASSUMED_FPS
        if model == "auto":
            model, scale, why = choose_model(clip.width, clip.height, fps, scale, wanted)
            _log_once(f"upscale: model {model!r} ({why})")
        checkpoint = find_model(model, scale)
        # Whatever is wrong with a file is no backend's, and no reason to try the next one.
        parts_of(checkpoint.path, checkpoint.sha256, wanted.alpha)
        target_format = source_format if output_format is None else _same_family(output_format, source_format)
        target = _enlarged(plane_format(target_format, clip.width, clip.height, "output_format"), checkpoint.scale)
        upscaler = Upscaler(checkpoint, source, target, target_format, wanted, reader, allow_interlaced, temporal > 0)
        # More streams than frames are asked for at once would leave cores idle.
        most = min(vs.core.num_threads, clip.num_frames)
        # Here, so that what is wrong with the model or device is said now, and the first frame does not wait.
        streams = upscaler.open(most) if backend is not None else upscaler.open_first_that_works(*candidates(device), most)
        # A lane whose frame repeats another lane's waits for it: with as many again, there is something to compute meanwhile.
        lanes = min(2 * streams if repeats else streams, most)
        if repeats:
            upscaler.recognise_repeats(2 * lanes)
        if playback_fps is not None:
            upscaler.watch_for(fps, lanes)
        return in_lanes(clip, target, target_format, upscaler, lanes, temporal)


class Upscaler:
    """What happens to a frame. It holds no node, so that closing a script frees its clips."""

    def __init__(
        self,
        model: Model,
        source: PlaneFormat,
        target: PlaneFormat,
        target_format: vs.VideoFormat,
        options: Options,
        reader: ColorimetryReader,
        allow_interlaced: bool,
        temporal: bool = False,
    ) -> None:
        self._model = model
        self._source = source
        self._target = target
        self._target_format = target_format
        self._options = options
        self._reader = reader
        self._allow_interlaced = allow_interlaced
        self._temporal = temporal
        self._latest: tuple[Colorimetry, AnySession] | None = None
        self._repeats: Repeats[vs.VideoFrame] | None = None
        self.watch: AbstractContextManager[None] = nullcontext()
        """Around each frame, in its thread."""

    def recognise_repeats(self, most: int) -> None:
        """Keep the planes of so many frames at most, for those that repeat them."""
        self._repeats = Repeats(most, sum(map(prod, self._target.shapes)) * self._target.dtype.itemsize)

    def open(self, most: int) -> int:
        """Open the likely session; how many frames it computes at once: ``most`` or fewer where nobody says."""
        backend = load_backend(self._options.backend)
        device = self._options.device or backend.default_device()
        streams = self._options.num_streams or min(backend.default_streams(device), most)
        self._options = replace(self._options, device=device, num_streams=streams)
        self.session(self._reader.read({}))
        return self._options.num_streams

    def open_first_that_works(self, backends: Sequence[str], why: str, most: int) -> int:
        """``open`` with the first of the backends that can; log which, and what kept those before it.

        Raises ParagonSR2Error with all that kept them, where none can.
        """
        wanted = self._options
        faults: dict[str, str] = {}
        last: Exception | None = None
        for name in backends:
            self._options = replace(wanted, backend=name)
            try:
                streams = self.open(most)
            except Exception as error:  # a runtime that is half installed fails in many ways
                last = error
                faults[name] = str(error) if isinstance(error, ParagonSR2Error) else f"{type(error).__name__}: {error}"
            else:
                break
        reasons = [f"not {name!r}: {fault}" for name, fault in faults.items()]
        if len(faults) == len(backends):
            same = len(set(faults.values())) == 1  # as of a damaged checkpoint
            raise ParagonSR2Error(faults[backends[0]] if same else f"no backend can do this ({'; '.join(reasons)})") from last
        reasons = [why, *reasons] if why else reasons
        _log_once(f"upscale: backend {name!r}" + (f" ({'; '.join(reasons)})" if reasons else ""))
        return streams

    def session(self, colour: Colorimetry) -> AnySession:
        """The session for frames of this meaning, nearly always the one of the frame before."""
        latest = self._latest
        if latest is None or latest[0] != colour:
            request = Request(self._model, ClipSpec(self._source, self._target, colour, self._temporal), self._options)
            latest = self._latest = (colour, SESSIONS.get(request))
        for note in latest[1].take_notes():
            _log_once(f"upscale: {note}")
        return latest[1]

    def watch_for(self, fps: float, lanes: int) -> None:
        """Log once, and what would help, where frames come too late to be shown at a rate."""
        size, would_help = f"{self._source.width}x{self._source.height}", remedy(self._model, self._options)
        message = f"upscale: frames of {size} come too late to be shown at {fps:.4g} fps: {would_help} would help"
        self.watch = Lateness(fps, lanes, partial(_log_once, message))

    def frame(self, n: int, frame: vs.VideoFrame, *earlier: vs.VideoFrame) -> vs.VideoFrame:
        """Frame n of the clip, upscaled; ``earlier`` are frames n - 1, n - 2, ..., in temporal mode.

        Raises vs.Error, naming the frame, for whatever goes wrong.
        """
        try:
            props = frame.props
            colour = self._colour(props)
            if self._reader.lacks_matrix(props):
                _log_once(
                    f"upscale: frames of {self._source.width}x{self._source.height} without a colour matrix are taken as "
                    f"{colour.matrix.name}; matrix= says otherwise"
                )
            session, planes = self.session(colour), planes_of(frame)
            if self._temporal:
                planes += averages(self._scene([frame, *earlier], colour))
            if self._repeats is None:
                return with_properties(self._picture(session, planes), frame)
            picture, repeated = self._repeats.get(colour, planes, partial(self._picture, session, planes), session.help)
            out = with_properties(picture, frame)
            if repeated:
                out.props["ParagonSR2Repeats"] = repeated
            return out
        except ParagonSR2Error as error:
            # Without the chain: VapourSynth shows it whole to the user, who has all he needs in the message.
            raise vs.Error(f"upscale: frame {n}: {error}") from None
        except Exception as error:
            raise vs.Error(f"upscale: frame {n}: {type(error).__name__}: {error}") from error

    def _colour(self, props: Mapping[str, Any]) -> Colorimetry:
        """What a frame's samples mean. Raises ParagonSR2Error for a frame that cannot be upscaled."""
        if not self._allow_interlaced and (field := whole_property(props, "_FieldBased", 0)):
            raise ParagonSR2Error(
                f"_FieldBased is {field}, interlaced: deinterlace the clip first (with "
                "bwdif or QTGMC), or pass allow_interlaced=True if its frames are progressive in truth"
            )
        return self._reader.read(props)

    def _scene(self, frames: Sequence[vs.VideoFrame], colour: Colorimetry) -> list[list[Plane]]:
        """Planes of the frames, the latest first, up to where the scene began or the samples had another meaning."""
        scene = [planes_of(frames[0])]
        for later, earlier in pairwise(frames):
            planes = planes_of(earlier)
            if "_SceneChangePrev" in later.props:
                begins = whole_property(later.props, "_SceneChangePrev", 0) != 0
            else:
                begins = begins_scene(scene[-1], planes, self._source)
            try:
                if begins or self._colour(earlier.props) != colour:
                    break
            except ParagonSR2Error:  # the earlier frame's own trouble
                break
            scene.append(planes)
        return scene

    def _picture(self, session: AnySession, planes: Sequence[Plane]) -> vs.VideoFrame:
        """Upscaled planes, without the properties of any frame."""
        picture = new_frame(self._target_format, self._target.width, self._target.height)
        session.run(planes, planes_of(picture))
        return picture


def in_lanes(
    clip: vs.VideoNode, target: PlaneFormat, target_format: vs.VideoFormat, upscaler: Upscaler, lanes: int, temporal: int = 0
) -> vs.VideoNode:
    """Every lanes-th frame goes to its own ModifyFrame, which runs one callback at a time, so lanes frames run at once.

    With each frame come as many earlier ones as ``temporal`` says.
    """
    # At n the frame before, and the one before that ...; for a clip of any length, and frame 0 where there is none.
    clips = [clip] + [clip.std.DuplicateFrames([0] * i).std.Trim(length=clip.num_frames) for i in range(1, temporal + 1)]
    outputs = []
    for lane in range(lanes):
        sources = [c.std.SelectEvery(lanes, lane, modify_duration=False) for c in clips] if lanes > 1 else clips
        blank = sources[0].std.BlankClip(width=target.width, height=target.height, format=target_format.id, keep=True)
        outputs.append(blank.std.ModifyFrame(sources, partial(_lane_frame, upscaler, lanes, lane)))
    return vs.core.std.Interleave(outputs, modify_duration=False) if lanes > 1 else outputs[0]


def _lane_frame(upscaler: Upscaler, lanes: int, lane: int, n: int, f: vs.VideoFrame | Sequence[vs.VideoFrame]) -> vs.VideoFrame:
    number = n * lanes + lane
    frames = [f] if isinstance(f, vs.VideoFrame) else f[: number + 1]
    with upscaler.watch:
        return upscaler.frame(number, *frames)


@contextmanager
def _errors_of_vapoursynth(where: str) -> Iterator[None]:
    """Scripts see vs.Error."""
    try:
        yield
    except ParagonSR2Error as error:
        raise vs.Error(f"{where}: {error}") from None
    except vs.Error:
        raise
    except Exception as error:
        raise vs.Error(f"{where}: {type(error).__name__}: {error}") from error


@lru_cache(maxsize=64)
def _log_once(message: str) -> None:
    """Once in the process: a player runs its script again at each seek."""
    vs.core.log_message(vs.MESSAGE_TYPE_INFORMATION, message)


def _constant_format(clip: object) -> vs.VideoFormat:
    if not isinstance(clip, vs.VideoNode):
        raise ParagonSR2Error(f"clip is {clip!r}: expected a video clip of VapourSynth")
    if clip.format is None or clip.format.color_family == vs.UNDEFINED:
        raise ParagonSR2Error("clip has a variable format: expected a constant one, as resize.Bicubic(format=...) makes")
    if clip.width == 0:
        raise ParagonSR2Error("clip has a variable size: expected a constant one, as resize.Bicubic(width=..., height=...) makes")
    return clip.format


def _same_family(output_format: object, source: vs.VideoFormat) -> vs.VideoFormat:
    """The format that the argument names. Raises ParagonSR2Error for none, or one of another colour family."""
    try:
        fmt = output_format if isinstance(output_format, vs.VideoFormat) else vs.core.get_video_format(output_format)
    except (vs.Error, TypeError, ValueError, OverflowError) as error:
        raise ParagonSR2Error(f"output_format is {output_format!r}: expected a format such as vs.YUV420P10 ({error})") from error
    if fmt is None or fmt.color_family == vs.UNDEFINED:
        raise ParagonSR2Error(f"output_format is {output_format!r}: expected a format such as vs.YUV420P10")
    if fmt.color_family != source.color_family:
        raise ParagonSR2Error(
            f"output_format is {fmt.name}: expected one of the clip's own colour family, {source.color_family.name}"
        )
    return fmt


def _device_indices(device_index: object) -> tuple[int, ...]:
    """One number or several. Raises ParagonSR2Error for none, or for one that comes twice."""
    several = device_index if isinstance(device_index, list | tuple) else [device_index]
    indices = tuple(whole_number("device_index", index, 0) for index in several)
    if not indices or len(set(indices)) < len(indices):
        raise ParagonSR2Error(f"device_index is {device_index!r}: expected a number from 0, or several different ones")
    return indices


def _tile_size(tile_size: object) -> tuple[int, int]:
    """(width, height), or one number for both, as (rows, columns). Raises ParagonSR2Error for anything else."""
    try:
        width, height = (
            whole_number("tile_size", side, 0) for side in (tile_size if isinstance(tile_size, Sequence) else [tile_size] * 2)
        )
    except (ParagonSR2Error, ValueError) as error:
        right = "(width, height) in pixels, 0 for the clip's own, one number for both, or None to choose"
        raise ParagonSR2Error(f"tile_size is {tile_size!r}: expected {right}") from error
    return height, width


def _enlarged(fmt: PlaneFormat, scale: int) -> PlaneFormat:
    """The format at scale times the size. Raises ParagonSR2Error where its chroma planes would not be whole."""
    enlarged = replace(fmt, width=fmt.width * scale, height=fmt.height * scale)
    rows, columns = enlarged.ratios
    if enlarged.width % columns or enlarged.height % rows:
        raise ParagonSR2Error(
            f"output_format subsamples chroma by {columns}x{rows}, which does not divide {enlarged.width}x{enlarged.height}"
        )
    return enlarged
