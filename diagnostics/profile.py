"""How far a quantity can be moved while the votes stay nearly as probable: the profile-likelihood interval.

    { q(theta) : max over theta with that q of log L >= log L_max - drop },    drop = chi2_1(level) / 2

The two ends are sought directly, as constrained optima, so a ridge is followed wherever it leads and the ends come with
the parameters that reach them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.stats import chi2

__all__ = ["Function", "Profile", "profile"]

Function = Callable[[np.ndarray], tuple[float, np.ndarray]]
"""Free parameters (size,) -> value and gradient (size,)."""

_ROUNDS = 4  # of seeking the ends again where a higher top was found on the way
_SLACK = 0.01  # nats that an end may miss the level by
_MOST_DENSE = 60  # parameters up to which an optimiser that solves dense systems in all of them is used
_MULTIPLIER_ROUNDS = 30


@dataclass(frozen=True)
class Profile:
    """A profile interval.

    Attributes:
        lower, upper: ends of the interval, on the quantity's scale.
        at_lower, at_upper: free parameters there, (size,).
        exact: whether both ends lie on the level or on the box; else the interval may be wider than it says.
    """

    lower: float
    upper: float
    at_lower: np.ndarray
    at_upper: np.ndarray
    exact: bool


def profile(
    log_likelihood: Function,
    quantity: Function,
    start: np.ndarray,
    scale: np.ndarray,
    box: float,
    level: float = 0.9,
    fixed: np.ndarray | None = None,
) -> Profile:
    """The profile interval of a quantity.

    Args:
        log_likelihood: free parameters -> value, nats, and gradient.
        quantity: free parameters -> value and gradient.
        start: free parameters near the top, (size,).
        scale: about how far each may be moved, (size,).
        box: free parameters are kept within plus and minus this.
        level: confidence.
        fixed: which free parameters stay where they are, (size,) booleans.

    Reference: Venzon and Moolgavkar (1988), Applied Statistics 37.
    """
    loose = np.ones(start.size, dtype=bool) if fixed is None else ~fixed
    size = scale[loose]
    drop = float(chi2.ppf(level, 1)) / 2
    reach = np.maximum(box, np.abs(start))[loose]
    bounds = list(zip((-reach - start[loose]) / size, (reach - start[loose]) / size, strict=True))

    def at(move: np.ndarray) -> np.ndarray:
        free = start.copy()
        free[loose] += size * move
        return free

    def scaled(function: Function, sign: float) -> Function:
        @_remembered
        def inside(move: np.ndarray) -> tuple[float, np.ndarray]:
            value, slope = function(at(move))
            return sign * value, sign * slope[loose] * size

        return inside

    minus = scaled(log_likelihood, -1.0)
    best = minimize(minus, np.zeros(int(loose.sum())), jac=True, method="L-BFGS-B", bounds=bounds)
    top, summit = -float(best.fun), np.asarray(best.x)
    for _ in range(_ROUNDS):
        ends = [_end(minus, scaled(quantity, sign), summit, top - drop, bounds) for sign in (1.0, -1.0)]
        higher = max(ends, key=lambda end: end[1])
        if higher[1] <= top + _SLACK:
            break
        top, summit = higher[1:3]
    low, high = (end[0] for end in ends)
    # An optimum above the level lies on the box: nothing but the box kept it from going on.
    exact = all(
        abs(-minus(end[0])[0] - (top - drop)) < _SLACK or (end[3] and _on_the_box(end[0], bounds)) for end in ends
    )
    lower, upper = (float(quantity(at(end))[0]) for end in (low, high))
    return Profile(lower, upper, at(low), at(high), exact)


def _remembered(function: Function) -> Function:
    """The last answer again where it is asked twice: optimisers ask for value and slope separately."""
    last: tuple[np.ndarray, tuple[float, np.ndarray]] | None = None

    def answer(move: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal last
        if last is None or not np.array_equal(last[0], move):
            last = (np.array(move), function(move))
        return last[1]

    return answer


def _end(
    minus: Function, quantity: Function, start: np.ndarray, least: float, bounds: list[tuple[float, float]]
) -> tuple[np.ndarray, float, np.ndarray, bool]:
    """The point of least quantity where the log-likelihood is `least` or more.

    Also the highest point on the way (value and place), and whether the search says that it arrived.
    """
    seen: tuple[float, np.ndarray] = (-np.inf, start)

    def room(move: np.ndarray) -> float:
        nonlocal seen
        value = -minus(move)[0]
        if value > seen[0]:
            seen = (value, np.array(move))
        return value - least

    if len(start) <= _MOST_DENSE:
        answer = minimize(
            quantity, start, jac=True, method="SLSQP", bounds=bounds, options={"maxiter": 200, "ftol": 1e-7},
            constraints={"type": "ineq", "fun": room, "jac": lambda move: -minus(move)[1]},
        )  # fmt: skip
        end, arrived = np.asarray(answer.x), bool(answer.success)
    else:
        end, arrived = _by_multiplier(quantity, lambda move: (room(move), -minus(move)[1]), start, bounds)
    # Where the search ended outside, the last point is brought back along the line from the start.
    if not room(end) >= -_SLACK:  # also where it is not a number
        inside, outside = 0.0, 1.0
        for _ in range(40):
            middle = 0.5 * (inside + outside)
            inside, outside = (middle, outside) if room(start + middle * (end - start)) >= 0 else (inside, middle)
        end = start + inside * (end - start)
    return end, *seen, arrived


def _by_multiplier(
    quantity: Function, room: Function, start: np.ndarray, bounds: list[tuple[float, float]]
) -> tuple[np.ndarray, bool]:
    """The same constrained optimum with memory and work linear in the parameters, and whether the search arrived.

    The method of multipliers (Rockafellar 1973, Mathematical Programming 5): L-BFGS-B on quantity plus a penalty for
    what room is lacking, moved by a multiplier until nothing is lacking.
    """
    multiplier, penalty, lacking = 0.0, 0.1, np.inf
    end = start

    def penalised(move: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = quantity(move)
        left, uphill = room(move)
        short = max(multiplier - penalty * left, 0.0)
        return value + short**2 / (2 * penalty), slope - short * uphill

    for _ in range(_MULTIPLIER_ROUNDS):
        answer = minimize(penalised, end, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 200})
        end, before = np.asarray(answer.x), multiplier
        left = room(end)[0]
        multiplier = max(multiplier - penalty * left, 0.0)
        # What is lacking, or is left although the multiplier still pulls.
        if abs(min(left, before / penalty)) < _SLACK / 4:
            return end, True
        if abs(left) > lacking / 4:
            penalty *= 3.0
        lacking = abs(left)
    return end, False


def _on_the_box(end: np.ndarray, bounds: list[tuple[float, float]]) -> bool:
    low, high = np.array(bounds).T
    return bool(np.any((end - low < 1e-6) | (high - end < 1e-6)))
