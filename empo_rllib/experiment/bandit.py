"""PB2's explore step: a Gaussian process chooses values by what the population has gained so far.

Parker-Holder et al. 2020 (arXiv:2002.02518): the gain of a member between two rounds is a function
of its values, of the score that it started from and of the time, along which it is forgotten
(TV-GP-UCB, Bogunovic et al. 2016). A copy gets the values with the largest upper confidence bound.

Tune's own PB2 has the kernel's gradient in the length scale wrong, no noise, and draws from numpy's
global generator (Ray 2.60); here kernel and fit are scikit-learn's.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Kernel, Matern, WhiteKernel

from empo_rllib.experiment.population import Explore, Member, Round, Spaces

# Newest observations of which the process is made: its cost grows with their cube.
MAX_OBSERVATIONS = 200
# Of each choice: the bound is evaluated at so many random points, then near the best of them.
_NUM_CANDIDATES = 512
_NEAR = 0.05
# A length so large that a feature has no say in a kernel.
_NO_SAY = 1e6


class Observation(NamedTuple):
    """What a member gained from one round to the next.

    Attributes:
        time: Number of the round at its end.
        score: That it started from: its own, or whose weights it had copied.
        params: Those that it trained with.
        gain: Its own score at the end less that, for each env step; larger is better.
    """

    time: int
    score: float
    params: Mapping[str, Any]
    gain: float


def bandit(spaces: Spaces, mode: str) -> Explore:
    """Returns the explore step of PB2.

    Args:
        spaces: The search space of each key; numbers only.
        mode: `max` where a larger score is better, else `min`.
    """
    sign = 1.0 if mode == "max" else -1.0

    def explore(
        donor: Member,
        rounds: Sequence[Round],
        chosen: Sequence[Mapping[str, Any]],
        rng: np.random.Generator,
    ) -> dict[str, Any]:
        observations = observe(rounds, sign)[-MAX_OBSERVATIONS:]
        assert donor.score is not None
        place = (len(rounds) + 1, sign * donor.score)
        best = _best_point(observations, place, [_units(c, spaces) for c in chosen], spaces, rng)
        return {key: from_unit(x, spaces[key]) for key, x in zip(spaces, best, strict=True)}

    return explore


def observe(rounds: Sequence[Round], sign: float) -> list[Observation]:
    """Returns the gains of all members between rounds, in the order of the rounds.

    Args:
        rounds: All so far; of the last only the scores count.
        sign: -1 where a smaller score is better.
    """
    found = []
    for number, (before, after) in enumerate(itertools.pairwise(rounds), start=2):
        for member in after.members:
            start = before.find(member.trial_id)
            origin = before.find(start.copies) or start if start else None
            if start is None or origin is None or origin.score is None or member.score is None:
                continue
            env_steps = max(1, member.env_steps - start.env_steps)
            gain = sign * (member.score - origin.score) / env_steps
            found.append(Observation(number, sign * origin.score, start.params, gain))
    return found


def to_unit(value: float, space: Mapping[str, Any]) -> float:
    """Returns where a number lies between the bounds of its space, from 0 to 1."""
    ((kind, (low, high)),) = space.items()
    if kind == "loguniform":
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)


def from_unit(x: float, space: Mapping[str, Any]) -> float | int:
    """Returns the number at a place between the bounds of its space."""
    ((kind, (low, high)),) = space.items()
    if kind == "loguniform":
        return float(min(max(low * (high / low) ** x, low), high))
    if kind == "randint":
        return int(min(low + math.floor(x * (high - low)), high - 1))
    return float(min(max(low + x * (high - low), low), high))


def _units(params: Mapping[str, Any], spaces: Spaces) -> list[float]:
    return [to_unit(params[key], space) for key, space in spaces.items()]


def _best_point(
    observations: Sequence[Observation],
    place: tuple[float, float],
    chosen: Sequence[Sequence[float]],
    spaces: Spaces,
    rng: np.random.Generator,
) -> np.ndarray:
    """Returns values in [0, 1], float64 [K], where the upper confidence bound is largest.

    Args:
        observations: M of them; without any the values are random.
        place: The time and the score that the member starts from.
        chosen: Values of this round's earlier copies; the bound is smaller near them.
        spaces: K of them.
        rng: For the candidates.
    """
    candidates = rng.random((_NUM_CANDIDATES, len(spaces)))
    if not observations:
        return candidates[0]
    scores = np.array([one.score for one in observations])
    spread = scores.std() or 1.0
    rows = [
        (o.time, (o.score - scores.mean()) / spread, *_units(o.params, spaces))
        for o in observations
    ]
    gains = np.array([one.gain for one in observations])
    gains = (gains - gains.mean()) / (gains.std() or 1.0)
    here = (place[0], (place[1] - scores.mean()) / spread)
    bound = _Bound(np.array(rows), gains, here, np.array(chosen).reshape(-1, len(spaces)))
    best = candidates[np.argmax(bound(candidates))]
    near = np.clip(best + _NEAR * rng.standard_normal(candidates.shape), 0.0, 1.0)
    return near[np.argmax(bound(near))]


class _Bound:
    """The upper confidence bound of the gain.

    Args:
        inputs: float64 [M, 2 + K]: time, score, values.
        gains: float64 [M], standardised.
        place: Time and score at which it is asked for.
        chosen: float64 [C, K]: values on which nothing is known yet but that it will be.
    """

    def __init__(
        self,
        inputs: np.ndarray,
        gains: np.ndarray,
        place: tuple[float, float],
        chosen: np.ndarray,
    ) -> None:
        self._place = place
        self._mean = _fit(_kernel(inputs.shape[1]), inputs, gains)
        later = self._at(chosen)
        expected = self._mean.predict(later) if len(later) else np.empty(0)
        # Its mean is not read, and its deviation does not depend on what is expected.
        self._deviation = GaussianProcessRegressor(self._mean.kernel_, optimizer=None).fit(
            np.vstack([inputs, later]), np.concatenate([gains, expected])
        )
        # As Tune's PB2 weighs the deviation (`pb2_utils.UCB`).
        self._weight = math.sqrt(0.2 + max(0.0, math.log(0.4 * len(gains))))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Returns it for values [N, K], float64 [N]."""
        inputs = self._at(values)
        _, deviation = self._deviation.predict(inputs, return_std=True)
        return self._mean.predict(inputs) + self._weight * deviation

    def _at(self, values: np.ndarray) -> np.ndarray:
        return np.hstack([np.tile(self._place, (len(values), 1)), values])


def _kernel(num_features: int) -> Kernel:
    """Returns a squared exponential over score and values, that time makes fade; and noise.

    A Matern kernel of 0.5 is exp(-distance/length): (1 - epsilon)^(distance/2) of PB2.
    """
    others = num_features - 1
    over_time = Matern([5.0, *[_NO_SAY] * others], nu=0.5, length_scale_bounds="fixed")
    lengths = [(_NO_SAY, _NO_SAY * 10), *[(0.1, 10.0)] * others]
    over_values = RBF([_NO_SAY, *[0.5] * others], lengths)
    return ConstantKernel(1.0, (0.1, 10.0)) * over_time * over_values + WhiteKernel(
        0.3, (1e-2, 3.0)
    )


def _fit(kernel: Kernel, inputs: np.ndarray, gains: np.ndarray) -> GaussianProcessRegressor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a length at its bound is no failure
        return GaussianProcessRegressor(kernel).fit(inputs, gains)
