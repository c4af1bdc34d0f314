"""What happens to a frame between VapourSynth and a session."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import vapoursynth as vs

from ..backends.base import AnySession, Plane
from ..program.colour import Colorimetry, PlaneFormat
from ..support.errors import ParagonSR2Error
from .alpha import enlarged
from .colorimetry import ColorimetryReader, check_readable, whole_property
from .frames import new_frame, planes_of, samples_of, with_properties
from .log import log_once
from .repeats import Repeats
from .sessions import ClipSessions
from .temporal import averages, begins_scene


@dataclass(frozen=True, slots=True)
class Renderer:
    """Renders frames of one clip. It holds no node, so that closing a script frees its clips."""

    reader: ColorimetryReader
    """What frames of the clip mean."""
    sessions: ClipSessions
    target: PlaneFormat
    target_format: vs.VideoFormat
    temporal: bool
    """Whether each frame's detail is smoothed over the earlier frames that come with it."""
    repeats: Repeats[vs.VideoFrame] | None
    """Recognises frames that repeat others; None computes every frame."""

    def __call__(self, n: int, frame: vs.VideoFrame, *earlier: vs.VideoFrame) -> vs.VideoFrame:
        """Frame n of the clip, upscaled; ``earlier`` are frames n - 1, n - 2, ..., in temporal mode.

        Raises vs.Error, naming the frame, for whatever goes wrong.
        """
        try:
            return self._render(frame, earlier)
        except ParagonSR2Error as error:
            # Without the chain: VapourSynth shows it whole to the user, who has all he needs in the message.
            raise vs.Error(f"upscale: frame {n}: {error}") from None
        except Exception as error:
            raise vs.Error(f"upscale: frame {n}: {type(error).__name__}: {error}") from error

    def _render(self, frame: vs.VideoFrame, earlier: Sequence[vs.VideoFrame]) -> vs.VideoFrame:
        check_readable(frame.props)
        colour = self.reader.read(frame.props)
        self._say_a_guess(frame.props, colour)
        session, planes = self.sessions.session(colour), samples_of(frame)
        if self.temporal:
            planes = [*planes, *averages(self._scene(planes, [frame, *earlier], colour))]
        repeated = 0
        if self.repeats is None:
            picture = self._picture(session, planes)
        else:
            picture, repeated = self.repeats.get(colour, planes, partial(self._picture, session, planes), session.help_until)
        out = with_properties(picture, frame)
        if repeated:
            out.props["ParagonSR2Repeats"] = repeated
        alpha = frame.props.get("_Alpha")
        if isinstance(alpha, vs.VideoFrame) and (alpha.width, alpha.height) == (frame.width, frame.height):
            out.props["_Alpha"] = enlarged(alpha, self.target.width // frame.width)
        return out

    def _say_a_guess(self, props: Mapping[str, Any], colour: Colorimetry) -> None:
        if self.reader.lacks_matrix(props):
            source = self.reader.source
            log_once(
                f"upscale: frames of {source.width}x{source.height} without a colour matrix are taken as {colour.matrix.name}; "
                "matrix= says otherwise"
            )

    def _scene(self, latest: list[Plane], frames: Sequence[vs.VideoFrame], colour: Colorimetry) -> list[list[Plane]]:
        """Planes of the frames, the latest first, up to where the scene began or the samples had another meaning.

        ``latest`` are the planes of the first of the frames.
        """
        scene = [latest]
        for later, earlier in pairwise(frames):
            planes = samples_of(earlier)
            if "_SceneChangePrev" in later.props:
                begins = whole_property(later.props, "_SceneChangePrev", 0) != 0
            else:
                begins = begins_scene(scene[-1], planes, self.reader.source)
            try:
                if begins or self.reader.read(earlier.props) != colour:
                    break
            except ParagonSR2Error:  # the earlier frame's own trouble
                break
            scene.append(planes)
        return scene

    def _picture(self, session: AnySession, planes: Sequence[Plane]) -> vs.VideoFrame:
        """Upscaled planes, without the properties of any frame."""
        picture = new_frame(self.target_format, self.target.width, self.target.height)
        session.run(planes, planes_of(picture))
        return picture
