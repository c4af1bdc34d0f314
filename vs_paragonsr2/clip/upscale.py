"""``upscale``: checks the clip and the arguments, and builds the VapourSynth nodes."""

import os
from collections.abc import Sequence
from dataclasses import replace
from math import prod

import vapoursynth as vs

from ..backends.options import flag
from ..checkpoints.load import checkpoint_of
from ..checkpoints.models import find_model
from ..program.colour import ClipSpec, PlaneFormat
from ..support.arguments import ALPHA_RANGE, is_alpha, number, whole_number
from ..support.cache_folder import bounds, cache_folder, distrust
from ..support.errors import ParagonSR2Error
from .colorimetry import ColorimetryReader, plane_format
from .lanes import Render, in_lanes
from .lateness import watched
from .log import log_once
from .renderer import Renderer
from .repeats import Repeats
from .sessions import open_sessions
from .speed import ASSUMED_FPS, choose_model
from .temporal import MOST_FRAMES


def upscale(
    clip: vs.VideoNode,
    model: str | os.PathLike[str] = "realtime",
    *,
    scale: int | None = None,
    backend: str | None = None,
    device: str | None = None,
    device_index: int | Sequence[int] | None = None,
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
    **own_options: object,
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
        own_options: options of a backend that another package brings. An option that the backend does not take is refused.

    Returns:
        The upscaled clip. Its frames do not depend on the order in which they are asked for, save for ``ParagonSR2Repeats``, which
        counts the work that was spared: which of two equal frames is computed depends on which comes first.

    Raises:
        vs.Error: an argument cannot be used; the message names it, its value and what would be right. When a frame is asked
            for: that frame is interlaced, or of a colour matrix that has no linear form.
    """
    with _ScriptErrors():
        _check_cache()
        source_format = _constant_format(clip)
        source = plane_format(source_format, clip.width, clip.height)
        reader = ColorimetryReader.for_clip(
            source,
            matrix=matrix,
            color_range=color_range,
            chroma_location=chroma_location,
            allow_interlaced=flag("allow_interlaced", allow_interlaced),
        )
        if scale is not None:
            scale = whole_number("scale", scale, 2)
        if alpha is not None and not is_alpha(alpha):
            raise ParagonSR2Error(f"alpha is {alpha!r}: expected {ALPHA_RANGE}")
        repeats = flag("repeats", repeats)
        temporal = whole_number("temporal", temporal, 0, MOST_FRAMES)
        if playback_fps is not None:
            playback_fps = number("playback_fps", playback_fps, 0)
        options = {
            "device": device,
            "device_index": device_index,
            "num_streams": num_streams,
            "precision": precision,
            "memory_limit": memory_limit,
            "tile_size": tile_size,
            "wait": wait,
            "torch_compile": torch_compile,
            **own_options,
        }
        given = {name: value for name, value in options.items() if value is not None and value is not False}
        fps = playback_fps or float(clip.fps) or ASSUMED_FPS
        if isinstance(model, str) and model == "auto":
            model, scale, why = choose_model(clip.width, clip.height, fps, scale, backend, given)
            log_once(f"upscale: model {model!r} ({why})")
        chosen = find_model(model, scale)
        blend = None if alpha is None else float(alpha)
        # Whatever is wrong with a file is no backend's, and no reason to try the next one.
        checkpoint_of(chosen.path, chosen.sha256, blend)
        target_format = source_format if output_format is None else _same_family(output_format, source_format)
        target = _enlarged(plane_format(target_format, clip.width, clip.height, "output_format"), chosen.scale)
        spec = ClipSpec(source, target, reader.read({}), temporal > 0)
        # More streams than frames are asked for at once would leave cores idle.
        most = min(vs.core.num_threads, clip.num_frames)
        # Here, so that what is wrong with the model or device is said now, and the first frame does not wait.
        sessions = open_sessions(chosen, spec, blend, backend, given, most)
        streams = sessions.request.num_streams
        # A lane whose frame repeats another lane's waits for it: twice as many lanes leave something to compute meanwhile.
        lanes = min(2 * streams if repeats else streams, most)
        frame_bytes = sum(map(prod, target.shapes)) * target.dtype.itemsize
        known = Repeats[vs.VideoFrame](2 * lanes, frame_bytes) if repeats else None
        render: Render = Renderer(reader, sessions, target, target_format, temporal > 0, known)
        if playback_fps is not None:
            render = watched(render, fps, lanes, sessions.request)
        return in_lanes(clip, target, target_format, render, lanes, temporal)


class _ScriptErrors:
    """Turns exceptions into vs.Error, which scripts see. (A generator's context manager would leave them in reference cycles.)"""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, ParagonSR2Error):
            raise vs.Error(f"upscale: {error}") from None
        if isinstance(error, Exception) and not isinstance(error, vs.Error):
            raise vs.Error(f"upscale: {type(error).__name__}: {error}") from error


def _check_cache() -> None:
    """Log once where the cache folder is not used, and why. Raises ParagonSR2Error for a variable of the environment."""
    bounds()
    if (fault := distrust(cache_folder())) is not None:
        log_once(f"upscale: {fault}")


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


def _enlarged(fmt: PlaneFormat, scale: int) -> PlaneFormat:
    """The format at scale times the size. Raises ParagonSR2Error where its chroma planes would not be whole."""
    enlarged = replace(fmt, width=fmt.width * scale, height=fmt.height * scale)
    rows, columns = enlarged.chroma_ratios
    if enlarged.width % columns or enlarged.height % rows:
        raise ParagonSR2Error(
            f"output_format subsamples chroma by {columns}x{rows}, which does not divide {enlarged.width}x{enlarged.height}"
        )
    return enlarged
