"""How far have the learning rates risen or fallen at an outer step, and how many steps are there?

The rates rise linearly, stay, and fall along a cosine to zero over the last part of the steps
(warm-up, stable, decay). Up to the start of the fall a schedule is the same whatever its length:
a time budget may decide the length only there, and the steps that it took, given as a number,
reproduce it exactly.
"""

import math

import numpy as np

from functa_store.config import OuterLoopConfig


def decay_start(config: OuterLoopConfig, num_steps: int) -> int:
    """The first outer step of the fall."""
    return math.floor(num_steps * (1 - config.decay_fraction))


def fix_num_steps(config: OuterLoopConfig, step: int, seconds: float) -> int | None:
    """Outer steps that fit into the time budget, once enough of it has passed to tell.

    Args:
        config: With the time budget in seconds.
        step: Outer steps so far.
        seconds: Time that they took.

    Returns:
        The number of outer steps, whose fall starts no earlier than `step`; None for not yet.
    """
    if config.time_budget is None or step == 0 or seconds < config.time_budget * (1 - config.decay_fraction):
        return None
    num_steps = math.ceil(step / (1 - config.decay_fraction))
    while decay_start(config, num_steps) < step:
        num_steps += 1
    return num_steps


def rate_scale(config: OuterLoopConfig, step: int, num_steps: int | None, rollbacks: int = 0) -> np.float32:
    """Factor on every learning rate at an outer step (from 0), in [0, 1]; half as much after each roll-back."""
    highest = min(1.0, (step + 1) / (config.warmup_steps + 1)) * 0.5**rollbacks
    if num_steps is None or step < (start := decay_start(config, num_steps)):
        return np.float32(highest)
    return np.float32(highest * 0.5 * (1 + math.cos(math.pi * (step - start + 1) / (num_steps - start + 1))))
