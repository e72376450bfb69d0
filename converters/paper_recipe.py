"""Options of the loops as in the functa papers."""

from typing import Any

from functa_store.config import (
    FitConfig,
    InnerLoopConfig,
    OuterLoopConfig,
)


def of_the_papers(num_steps: int, batch_size: int, num_points: int | None, **more: int) -> dict[str, Any]:
    """The loops of the functa and COIN++ papers: 3 inner steps, Adam 3e-6 for everything, no schedule.

    Args:
        num_steps: Updates of the base network.
        batch_size: Examples per update.
        num_points: Points of each example per inner step; None takes all of them.
        **more: Further fields of `OuterLoopConfig`.

    Returns:
        Fields of a `ConvertConfig`.
    """
    outer = OuterLoopConfig(
        num_steps=num_steps,
        batch_size=batch_size,
        num_points=num_points,
        learning_rate=3e-6,
        map_learning_rate=3e-6,
        rates_learning_rate=3e-6,
        warmup_steps=0,
        decay_fraction=0.0,
        **more,
    )
    fit = FitConfig(num_steps=3, stride=1, tuning_steps=0)
    return {"inner": InnerLoopConfig(num_steps=3, learning_rate=1e-2), "outer": outer, "fit": fit}
