"""Events that long operations report while they run."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Surveyed:
    """Members of the archive have been read once, before anything is learned.

    Attributes:
        done: Members read so far.
        total: Members of the archive.
        rejects: Members that were skipped so far.
    """

    done: int
    total: int
    rejects: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Learned:
    """The base network has taken another few outer steps.

    Attributes:
        step: Outer steps so far.
        num_steps: Outer steps in all; None while a time budget has not fixed it yet.
        seconds: Time spent learning, compilation apart.
        seconds_left: Estimate of the time that is left.
        psnr: Mean PSNR of the last training batches in decibels, on their random points; of the errors that are
            minimised, which are larger if ones count more.
        monitored_psnr: Mean PSNR of the monitored examples on the whole grid, from the last look.
        examples_per_second: Examples that passed through the outer loop.
    """

    step: int
    num_steps: int | None
    seconds: float
    seconds_left: float
    psnr: float
    monitored_psnr: float | None
    examples_per_second: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tuned:
    """Rates and momenta of the fit have been updated.

    Attributes:
        step: Updates so far.
        num_steps: Updates in all.
        psnr: Mean PSNR of the last training batch after its fit, in decibels; of the errors that are minimised.
    """

    step: int
    num_steps: int
    psnr: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fitted:
    """Another batch of examples has been fitted.

    Attributes:
        done: Examples fitted so far, those of an interrupted run included.
        total: Examples of the functaset.
        psnr_mean: Mean PSNR of the examples fitted in this run, in decibels.
        examples_per_second: Speed of this run.
        seconds_left: Estimate of the time that is left.
    """

    done: int
    total: int
    psnr_mean: float
    examples_per_second: float
    seconds_left: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Worked:
    """One of several workers has fitted something; `Fitted` says how all of them get on.

    Attributes:
        worker: Which.
        shards: Shards that it has written in this run.
        examples: Examples that it has fitted in this run.
        total: Examples of the functaset.
        examples_per_second: Its speed, since it began.
    """

    worker: str
    shards: int
    examples: int
    total: int
    examples_per_second: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exported:
    """Another block of examples has been decoded; it is written while the next one is decoded.

    Attributes:
        done: Examples so far.
        total: Examples to be exported.
        examples_per_second: Speed of this export.
        seconds_left: Estimate of the time that is left.
    """

    done: int
    total: int
    examples_per_second: float
    seconds_left: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Transferred:
    """More bytes of a functaset have gone to another place, or come from one.

    Attributes:
        done: Bytes so far, those that were there already included.
        total: Bytes in all.
        bytes_per_second: Speed of this transfer.
        seconds_left: Estimate of the time that is left.
    """

    done: int
    total: int
    bytes_per_second: float
    seconds_left: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scored:
    """A classifier of a score has taken another few steps.

    Attributes:
        method: What is trained on what.
        label: The label that it learns.
        step: Steps of all trainings so far.
        num_steps: Steps of all trainings.
        seconds_left: Estimate of the time that is left.
    """

    method: str
    label: str
    step: int
    num_steps: int
    seconds_left: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Note:
    """Something a person wants to know once, such as where a run was taken up again."""

    message: str


Event = Surveyed | Learned | Tuned | Fitted | Worked | Exported | Transferred | Scored | Note
Report = Callable[[Event], None]


def silent(event: Event) -> None:
    """Report nothing."""


def as_json(event: Event) -> dict[str, Any]:
    """An event as a JSON object, its kind under `event`."""
    return {"event": type(event).__name__.lower(), **json_ready(dataclasses.asdict(event))}


def json_ready(value: Any) -> Any:
    """The same value with JSON's types only: tuples become lists, numbers that are not finite null."""
    if isinstance(value, dict):
        return {str(key): json_ready(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(inner) for inner in value]
    if hasattr(value, "tolist"):
        return json_ready(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
