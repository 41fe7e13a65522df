"""From a network's output to actions, in numpy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import BundleError
from .fields import (
    MAX_ELEMENTS,
    checked,
    number,
    one_of,
    refused,
    take,
    take_shape,
    take_sizes,
)

KINDS = ("categorical", "multi_categorical", "q_values", "gaussian", "squashed_gaussian", "actions")
BOUNDS = ("unsquash", "clip", "none")
DTYPES = ("bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))


@dataclass(frozen=True)
class Box:
    """A Box action space, and how actions are brought into it.

    Attributes:
        shape: of an action.
        low: lower bounds, float32 or float64 of that shape; -inf where there is none.
        high: upper bounds.
        bounds: `unsquash` maps [-1, 1] to the bounds, `clip` cuts off, `none` leaves actions.
    """

    shape: tuple[int, ...]
    low: np.ndarray
    high: np.ndarray
    bounds: str

    @classmethod
    def from_data(cls, data: dict[str, Any], place: str) -> Box:
        """Reads `bundle.json`'s data."""
        shape = take_shape(data, "shape", place)
        dtype = one_of(data.get("dtype"), ("float32", "float64"), f"{place}.dtype")
        low = _bounds(data, "low", -np.inf, shape, dtype, place)
        high = _bounds(data, "high", np.inf, shape, dtype, place)
        return cls(shape, low, high, one_of(data.get("bounds"), BOUNDS, f"{place}.bounds"))

    def bring_in(self, actions: np.ndarray) -> np.ndarray:
        """Returns actions of shape (B, *shape) in this space, as RLlib does it in training."""
        actions = actions.reshape(-1, *self.shape)
        if self.bounds == "unsquash":
            actions = self.low + (actions + 1.0) * (self.high - self.low) / 2.0
        return actions if self.bounds == "none" else np.clip(actions, self.low, self.high)


@dataclass(frozen=True)
class WholeNumbers:
    """An action space of whole numbers that do not count from 0, or not in one row.

    Attributes:
        shape: of an action.
        start: the lowest value of each number, int64 of that shape.
        dtype: of an action.
    """

    shape: tuple[int, ...]
    start: np.ndarray
    dtype: str

    @classmethod
    def from_data(cls, data: dict[str, Any], place: str) -> WholeNumbers:
        """Reads `bundle.json`'s data."""
        shape = take_shape(data, "shape", place)
        start = [checked(n, int, f"{place}.start") for n in take(data, "start", list, place)]
        if len(start) != math.prod(shape) or any(abs(n) > MAX_ELEMENTS for n in start):
            raise refused(f"{place}.start", start, f"must be small and of the shape {shape}")
        dtype = one_of(data.get("dtype"), DTYPES, f"{place}.dtype")
        return cls(shape, np.array(start, np.int64).reshape(shape), dtype)

    def bring_in(self, choices: np.ndarray) -> np.ndarray:
        """Returns choices that count from 0, [B, ...], in this space."""
        return (choices.reshape(-1, *self.shape) + self.start).astype(self.dtype)


@dataclass(frozen=True)
class ActionRule:
    """How a policy's actions follow from its network's output.

    Attributes:
        kind: `categorical`: one logit per action; `multi_categorical`: one per action of each part;
            `q_values`: one value per action; `gaussian`, `squashed_gaussian`: means and logarithms
            of standard deviations; `actions`: the actions themselves.
        size: numbers in a row of the output; None: the output is one number for each observation.
        can_draw: whether actions can be drawn as in training, beside the best one.
        sizes: actions of each part of a `multi_categorical`.
        epsilon: how often `q_values` draw a random action.
        box: the space of continuous actions; None: actions are whole numbers.
        whole_numbers: their space; None: they count from 0, in one row.
    """

    kind: str
    size: int | None
    can_draw: bool
    sizes: tuple[int, ...] = ()
    epsilon: float = 0.0
    box: Box | None = None
    whole_numbers: WholeNumbers | None = None

    @classmethod
    def from_data(cls, data: dict[str, Any], place: str) -> ActionRule:
        """Reads `bundle.json`'s data.

        Raises:
            BundleError: something is missing, of another kind, or contradicts the rest.
        """
        kind = one_of(data.get("kind"), KINDS, f"{place}.kind")
        sizes = take_sizes(data, "sizes", place) if kind == "multi_categorical" else ()
        epsilon = number(data.get("epsilon"), f"{place}.epsilon") if kind == "q_values" else 0.0
        is_box = kind in ("gaussian", "squashed_gaussian") or data.get("box") is not None
        box = Box.from_data(take(data, "box", dict, place), f"{place}.box") if is_box else None
        whole = None
        if data.get("whole_numbers") is not None:
            given = take(data, "whole_numbers", dict, place)
            whole = WholeNumbers.from_data(given, f"{place}.whole_numbers")
        size = None if data.get("size") is None else take(data, "size", int, place)
        rule = cls(kind, size, take(data, "can_draw", bool, place), sizes, epsilon, box, whole)
        if rule._fitting_size() not in (size, -1):
            raise refused(f"{place}.size", size, f"does not fit {kind}")
        if whole is not None and whole.start.size != (len(sizes) or 1):
            raise refused(f"{place}.whole_numbers.shape", whole.shape, f"does not fit {kind}")
        return rule

    def choose(self, output: np.ndarray, greedy: bool, rng: np.random.Generator) -> list[Any]:
        """Returns one action for each row.

        Args:
            output: What the network returned, float32 or whole numbers [B, size] or [B].
            greedy: Take the best action; otherwise draw one.
            rng: Draws.

        Raises:
            BundleError: actions cannot be drawn.
        """
        if not (greedy or self.can_draw):
            raise BundleError("this policy's actions cannot be drawn: take greedy=True.")
        actions = getattr(self, f"_{self.kind}")(output, greedy, rng)
        if self.box is not None:
            return list(self.box.bring_in(actions))
        if self.whole_numbers is not None:
            actions = self.whole_numbers.bring_in(actions)
        return [action.item() if action.ndim == 0 else action for action in actions]

    def _fitting_size(self) -> int | None:
        """The size of the output; -1 if any will do."""
        if self.kind == "multi_categorical":
            return sum(self.sizes)
        if self.box is not None:
            return int(self.box.low.size) * (1 if self.kind == "actions" else 2)
        return -1

    def _categorical(self, logits: np.ndarray, greedy: bool, rng: np.random.Generator) -> Any:
        if greedy:
            return np.argmax(logits, axis=-1)
        # The largest of logits with Gumbel noise has the probability softmax(logits).
        return np.argmax(logits + rng.gumbel(size=logits.shape), axis=-1)

    def _multi_categorical(self, logits: np.ndarray, greedy: bool, rng: Any) -> Any:
        parts = np.split(logits, np.cumsum(self.sizes)[:-1], axis=-1)
        return np.stack([self._categorical(part, greedy, rng) for part in parts], axis=-1)

    def _q_values(self, values: np.ndarray, greedy: bool, rng: np.random.Generator) -> Any:
        best = np.argmax(values, axis=-1)
        if greedy:
            return best
        explored = rng.random(len(best)) < self.epsilon
        return np.where(explored, rng.integers(values.shape[-1], size=len(best)), best)

    def _gaussian(self, output: np.ndarray, greedy: bool, rng: np.random.Generator) -> Any:
        mean, log_std = np.split(output, 2, axis=-1)
        return mean if greedy else _drawn(mean, log_std, rng)

    def _squashed_gaussian(self, output: np.ndarray, greedy: bool, rng: Any) -> Any:
        mean, log_std = np.split(output, 2, axis=-1)
        # RLlib's bounds of the logarithm.
        return np.tanh(mean if greedy else _drawn(mean, np.clip(log_std, -5.0, 2.0), rng))

    def _actions(self, output: np.ndarray, greedy: bool, rng: Any) -> Any:
        return output


def _drawn(mean: np.ndarray, log_std: np.ndarray, rng: np.random.Generator) -> Any:
    return mean + np.exp(log_std) * rng.standard_normal(mean.shape).astype(mean.dtype)


def _bounds(
    data: dict[str, Any], key: str, missing: float, shape: tuple[int, ...], dtype: str, place: str
) -> np.ndarray:
    values = take(data, key, list, place)
    if len(values) != math.prod(shape):
        raise refused(f"{place}.{key}", values, f"must have the shape {shape}")
    bounds = [missing if value is None else number(value, f"{place}.{key}") for value in values]
    with np.errstate(over="ignore"):  # what float32 cannot hold is no bound
        return np.array(bounds).astype(dtype).reshape(shape)
