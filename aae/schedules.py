"""Learning-rate schedules: step -> multiplier of every phase's rate, and the decoder's own."""

import math
from collections.abc import Callable

from aae.config import OptimConfig, ScheduleConfig

RAMP = 3  # epochs until the decoder has its speed: four times as fast from the first step on, half of the encoder's units died on one draw


def drop_epoch(at: float, unit: str, epochs: int) -> int:
    """How many epochs run before the drop: rounded, half up."""
    return math.floor((at * epochs if unit == "fraction" else at) + 0.5)


def decoder_speed(optim: OptimConfig, step: int, steps_per_epoch: int) -> float:
    """By how much the decoder's rate is the encoder's in the reconstruction phase."""
    return 1 + (optim.decoder_speed - 1) * min(1.0, step / (RAMP * steps_per_epoch))


def rate_multiplier(schedule: ScheduleConfig, epochs: int, steps_per_epoch: int) -> Callable[[int], float]:
    """A function of the step, counted from 0 over all epochs. Constant until the drop, then down to `factor`."""
    first = drop_epoch(schedule.drop_at, schedule.unit, epochs) * steps_per_epoch
    second = math.inf
    if schedule.second_drop_at is not None:
        second = drop_epoch(schedule.second_drop_at, schedule.unit, epochs) * steps_per_epoch
    length = max(1, epochs * steps_per_epoch - first)

    def multiplier(step: int) -> float:
        if schedule.kind == "constant" or step < first:
            return 1.0
        if schedule.kind == "step":
            return schedule.factor ** (1 + (step >= second))
        progress = min(1.0, (step - first) / length)
        left = 1 - progress if schedule.kind == "linear" else (1 + math.cos(math.pi * progress)) / 2
        return schedule.factor + (1 - schedule.factor) * left

    return multiplier
