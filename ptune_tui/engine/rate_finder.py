"""The range test of learning rates: the rate rises step by step while the loss is watched.

After Smith 2017, "Cyclical Learning Rates for Training Neural Networks", section 3.3. Rates are in
units of the method, as `--learning-rate` takes them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ptune_tui.engine.optimisation import Optimisation, RowOrder
from ptune_tui.errors import UsageError
from ptune_tui.events import RateProposed, RateTried

LOWEST_SHARE, HIGHEST_SHARE = 1 / 100, 100  # of the method's own rate
SMOOTHING = 0.85
STOP_FACTOR = 4.0
MIN_TRIED = 5
MIN_FALL = 0.02  # of the highest loss
SHARE_OF_LOWEST = 0.1


@dataclass
class RateFinder:
    """Tries rising rates on a method that is thrown away afterwards.

    Attributes:
        optimisation: The steps; its parameters are changed.
        order: The rows of each step.
        num_steps: Rates to try.
        tried: What was found so far.
    """

    optimisation: Optimisation
    order: RowOrder
    num_steps: int
    tried: list[RateTried] = field(default_factory=list)

    def run(self) -> Iterator[RateTried | RateProposed]:
        """Try one rate a step until the loss explodes, and propose one.

        Raises:
            UsageError: The loss exploded before there was anything to see.
        """
        method = self.optimisation.method
        average, best = 0.0, math.inf
        for number, rate in enumerate(rates(method.default_rate, self.num_steps), start=1):
            found = self.optimisation.gradient(self.order.draw())
            if not (math.isfinite(found.loss) and math.isfinite(found.norm)):
                break
            average = SMOOTHING * average + (1.0 - SMOOTHING) * found.loss
            smoothed = average / (1.0 - SMOOTHING**number)
            # The loss was taken before this rate's update: it shows what the rates so far did.
            tried = RateTried(rate, smoothed)
            self.tried.append(tried)
            yield tried
            best = min(best, smoothed)
            if smoothed > STOP_FACTOR * best:
                break
            self.optimisation.update(rate * method.unit)
        yield propose(self.tried)


def rates(default_rate: float, num_steps: int) -> list[float]:
    """Rates in equal ratios around a method's own.

    Args:
        default_rate (float): The method's own, in its units.
        num_steps (int): How many.
    """
    ratio = (HIGHEST_SHARE / LOWEST_SHARE) ** (1.0 / max(1, num_steps - 1))
    return [default_rate * LOWEST_SHARE * ratio**number for number in range(num_steps)]


def propose(tried: Sequence[RateTried]) -> RateProposed:
    """A tenth of the rate where the smoothed loss is lowest.

    At that rate the loss is about to rise; a tenth of it trained best in longer runs.

    Args:
        tried (Sequence[RateTried]): Rates in rising order with their smoothed losses.

    Raises:
        UsageError: There are too few, or the loss never fell.
    """
    if len(tried) < MIN_TRIED:
        raise UsageError(
            f"The loss exploded after {len(tried)} rates: there is nothing to choose from.",
            "Check the data and the template, or start from another `--init`.",
        )
    lowest = min(range(len(tried)), key=lambda number: tried[number].loss)
    before = tried[: lowest + 1]
    high, low = max(each.loss for each in before), tried[lowest].loss
    if high - low < MIN_FALL * high:
        raise UsageError(
            f"The loss ({high:.3g}) fell at no rate from {tried[0].learning_rate:.3g} to "
            f"{tried[-1].learning_rate:.3g}.",
            "Check the data and the template, or take more rows a step (`--batch-size`).",
        )
    rate = tried[lowest].learning_rate
    return RateProposed(
        rate * SHARE_OF_LOWEST,
        f"a tenth of {rate:.2g}, where the loss was lowest",
    )
