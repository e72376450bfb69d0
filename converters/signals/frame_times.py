"""Times at which the frames of a film are shown: even ones as a rate, others sampled at one.

A clip has even times, since its time axis is a grid; a GIF has a duration for every frame, and telephones, screen
recorders and editors write films whose frames come when something moves.
"""

import dataclasses

import numpy as np
from jaxtyping import Float64, Int64

from functa_store.errors import MemberError

_MOST_REPEATS = 100  # of a frame, on average: one that is shown for ten minutes takes a few bytes
_ALWAYS_FRAMES = 1 << 12
_ALIKE = 0.01
_DIGITS = 9  # of seconds: sums of them are not exact


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class FrameTimes:
    """When each frame of a film is shown.

    Attributes:
        starts: In seconds, ascending; the first one is 0.
        stop: When the last one ends, in seconds.
    """

    starts: Float64[np.ndarray, " frames"]
    stop: float

    def even_rate(self, said: float | None) -> float | None:
        """Frames per second if every frame is shown within half a step of even times, else None.

        Args:
            said: What the film says, which is taken where its times come near to it.
        """
        count = len(self.starts)
        step = self.starts[-1] / (count - 1) if count > 1 else self.stop
        is_late = np.abs(self.starts - step * np.arange(count)).max() > step / 2
        if round(step, _DIGITS) <= 0 or is_late or self.stop - self.starts[-1] > 1.5 * step:
            return None
        return _rate(float(step), said)

    def usual_rate(self, said: float | None) -> float:
        """Frames per second by the median time that a frame is shown."""
        return _rate(float(np.median(np.diff(self.starts, append=self.stop))), said)

    def shown(self, rate: float | int) -> Int64[np.ndarray, " steps"]:
        """The frame that is seen in the middle of each step of even times.

        Args:
            rate: Steps per second.

        Raises:
            MemberError: If there are far more steps than frames; the message is the reason alone.
        """
        count = len(self.starts)
        steps = max(1, round(self.stop * rate))
        if steps > _ALWAYS_FRAMES + _MOST_REPEATS * count:
            raise MemberError(
                f"shows {count} frames for {self.stop:g} s, which would be {steps} at {rate:g} per second; give a "
                "lower --fps"
            )
        middles = (np.arange(steps) + 0.5) / rate
        # A little later, so that rounding does not show the frame before.
        return np.searchsorted(self.starts, middles + 1e-6 / rate, side="right") - 1

    def sampled(self, shown: Int64[np.ndarray, " steps"], rate: float | int) -> str:
        """In words, what sampling at even times did."""
        durations = np.diff(self.starts, append=self.stop)
        count, seen = len(self.starts), len(np.unique(shown))
        return (
            f"its {count} frames come at uneven times ({durations.min():.3g} to {durations.max():.3g} s apart) and are "
            f"sampled at {rate:.4g} per second: {len(shown)} frames, {len(shown) - seen} of them repeated, "
            f"{count - seen} of the {count} left out"
        )


def frame_times(starts: list[float | None], last: float | None, *, in_order: bool = True) -> FrameTimes | None:
    """When frames are shown, if a film says so of every one.

    Args:
        starts: When each one starts, in seconds.
        last: How long the last one is shown; None takes as long as usual.
        in_order: Whether a time belongs to its frame. Those of an AVI belong to the places of frames in the file, which
            are in another order; together they are the times at which frames are shown.

    Raises:
        MemberError: If the times go back; the message is the reason alone.
    """
    known = [start for start in starts if start is not None]
    if not known or len(known) < len(starts):
        return None
    found = np.array(known if in_order else sorted(known), np.float64)
    found -= found[0]
    steps = np.diff(found)
    if not in_order and (steps <= 0).any():
        return None
    if (steps <= 0).any():
        k = int(np.flatnonzero(steps <= 0)[0])
        raise MemberError(
            f"shows frame {k + 1} at {found[k + 1]:g} s, but the one before at {found[k]:g} s, expected a later time"
        )
    usual = float(np.median(steps)) if len(steps) else 0.0
    return None if not (last or usual) else FrameTimes(starts=found, stop=float(found[-1]) + (last or usual))


def _rate(step: float, said: float | None) -> float:
    """Frames per second of a step; what the film says where that comes near to it."""
    rate = 1 / max(round(step, _DIGITS), 10**-_DIGITS)
    return said if said is not None and abs(rate / said - 1) < _ALIKE else rate
