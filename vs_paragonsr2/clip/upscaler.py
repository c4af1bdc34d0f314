"""What happens to a frame, and the lanes that let frames be computed side by side."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import lru_cache, partial
from itertools import pairwise
from math import prod
from typing import Any

import vapoursynth as vs

from ..backends import Options, Request, load_backend
from ..backends.base import Plane
from ..backends.sessions import SESSIONS, AnySession
from ..checkpoints.models import Model
from ..program.colour import ClipSpec, Colorimetry, PlaneFormat
from ..support.errors import ParagonSR2Error
from .colorimetry import ColorimetryReader, whole_property
from .frames import new_frame, planes_of, with_properties
from .lateness import Lateness, remedy
from .repeats import Repeats
from .temporal import averages, begins_scene


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
        log_once(f"upscale: backend {name!r}" + (f" ({'; '.join(reasons)})" if reasons else ""))
        return streams

    def session(self, colour: Colorimetry) -> AnySession:
        """The session for frames of this meaning, nearly always the one of the frame before."""
        latest = self._latest
        if latest is None or latest[0] != colour:
            request = Request(self._model, ClipSpec(self._source, self._target, colour, self._temporal), self._options)
            latest = self._latest = (colour, SESSIONS.get(request))
        for note in latest[1].take_notes():
            log_once(f"upscale: {note}")
        return latest[1]

    def watch_for(self, fps: float, lanes: int) -> None:
        """Log once, and what would help, where frames come too late to be shown at a rate."""
        size, would_help = f"{self._source.width}x{self._source.height}", remedy(self._model, self._options)
        message = f"upscale: frames of {size} come too late to be shown at {fps:.4g} fps: {would_help} would help"
        self.watch = Lateness(fps, lanes, partial(log_once, message))

    def frame(self, n: int, frame: vs.VideoFrame, *earlier: vs.VideoFrame) -> vs.VideoFrame:
        """Frame n of the clip, upscaled; ``earlier`` are frames n - 1, n - 2, ..., in temporal mode.

        Raises vs.Error, naming the frame, for whatever goes wrong.
        """
        try:
            props = frame.props
            colour = self._colour(props)
            if self._reader.lacks_matrix(props):
                log_once(
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


@lru_cache(maxsize=64)
def log_once(message: str) -> None:
    """Once in the process: a player runs its script again at each seek."""
    vs.core.log_message(vs.MESSAGE_TYPE_INFORMATION, message)
