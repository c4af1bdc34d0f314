"""The sessions that serve one clip: one for each meaning that its samples have, nearly always a single one."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..backends import OptionError, Request, candidates, check_options, load_backend
from ..backends.base import AnySession
from ..backends.sessions import SESSIONS, AnyRequest
from ..checkpoints.models import Model
from ..program.colour import ClipSpec, Colorimetry
from ..support.errors import ParagonSR2Error
from .log import log_once


@dataclass(slots=True)
class ClipSessions:
    """Sessions for one clip, by the meaning of its samples."""

    request: AnyRequest
    """What the likely session is asked for."""
    _latest: AnySession | None = field(default=None, init=False)

    def session(self, colour: Colorimetry) -> AnySession:
        """The session for frames of this meaning, from any thread; what it has to say is logged."""
        latest = self._latest
        if latest is None or latest.spec.colour != colour:
            spec = replace(self.request.spec, colour=colour)
            latest = self._latest = SESSIONS.get(replace(self.request, spec=spec))
        for note in latest.take_notes():
            log_once(f"upscale: {note}")
        return latest


def open_sessions(
    model: Model, spec: ClipSpec, alpha: float | None, backend: str | None, given: Mapping[str, object], most_streams: int
) -> ClipSessions:
    """Open the likely session of a clip, so that the first frame does not wait.

    Args:
        model: whose network is computed.
        spec: of frames that say nothing of their colours.
        alpha: blend of the base path's low-pass; None takes the checkpoint's own.
        backend: name of the backend; None takes the first that works, and logs which, and what kept those before it.
        given: options of the backend, by name.
        most_streams: frames computed at once at most, where ``given`` says nothing of them.

    Raises:
        ParagonSR2Error: the backend cannot do this, or none can; the message has all that kept them.
    """

    def opened(name: str) -> ClipSessions:
        runtime = load_backend(name)
        sessions = ClipSessions(Request(model, spec, runtime.settle(given, most_streams), name, alpha))
        sessions.session(spec.colour)
        return sessions

    check_options(given)
    if backend is not None:
        return opened(backend)
    device = given.get("device")
    names, lacking = candidates(device if isinstance(device, str) else None)
    faults: dict[str, str] = {}
    for name in names:
        try:
            sessions = opened(name)
        except OptionError:  # no backend takes a value that means nothing
            raise
        except Exception as error:  # a runtime that is half installed fails in many ways; its traceback would hold the clip
            faults[name] = str(error) if isinstance(error, ParagonSR2Error) else f"{type(error).__name__}: {error}"
        else:
            reasons = _reasons(lacking, faults)
            log_once(f"upscale: backend {name!r}" + (f" ({reasons})" if reasons else ""))
            return sessions
    if faults and len(set(faults.values())) == 1:  # as of a damaged checkpoint
        raise ParagonSR2Error(faults[names[0]])
    raise ParagonSR2Error(f"no backend can do this ({_reasons(lacking, faults) or f'none has the device {device!r}'})")


def _reasons(lacking: str, faults: Mapping[str, str]) -> str:
    """Why backends are not taken, in one line."""
    return "; ".join(filter(None, [lacking, *(f"not {name!r}: {fault}" for name, fault in faults.items())]))
