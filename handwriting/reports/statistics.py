"""Intervals and tests over writers: the sample is people, not images."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import permutation_test, t as student

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Bounds = tuple[float, float]
ALPHA = 0.05  # the rate of studies with a false gain


def interval(values: Float64, confidence: float = 0.95) -> Bounds | None:
    """Student's t interval of the mean of values (N,), one for each writer or seed.

    Its coverage is exact if gains are normal, however few the writers. If each writer is an outlier
    with probability .1, five standard deviations off, the 95 % interval covers the mean in 93 % of
    draws with 4 writers, 92 % with 5, 90 % with 10 and 92 % with 20 (measured with 200,000 draws
    each), which is why :func:`sign_flip_p` is reported with it.

    Returns:
        Low and high; None for one value, which gives no interval.
    """
    if len(values) < 2:
        return None
    quantile = float(student.ppf((1 + confidence) / 2, len(values) - 1))
    mean, half = float(values.mean()), quantile * float(values.std(ddof=1)) / len(values) ** 0.5
    return mean - half, mean + half


def accuracy_interval(accuracies: Float64) -> Bounds | None:
    """The 95 % :func:`interval` of a mean accuracy, clipped to [0, 1]."""
    bounds = interval(accuracies)
    return bounds and (max(bounds[0], 0.0), min(bounds[1], 1.0))


def verdict(gain_interval: Bounds | None) -> str:
    """What a corrected interval of a gain over the control shows.

    The control must have been named before any result: no interval is valid over a control that was
    chosen for its accuracy.
    """
    if gain_interval is None:
        return "one writer gives no interval"
    low, high = gain_interval
    if low > 0:
        return "a gain"
    return "a loss" if high < 0 else "the interval contains zero: no difference is shown"


def sign_flip_p(per_writer: Float64) -> float:
    """The p value of a mean gain: a two-sided paired permutation test over writers.

    Without a gain, each writer's difference, of (W,), would be equally likely with the other sign.
    Exact for up to 13 writers, where p is at least ``2 / 2**W``; with random signs beyond.
    """
    if len(per_writer) < 2:
        return 1.0
    found = permutation_test((per_writer,), np.mean, permutation_type="samples", rng=0)
    return float(found.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Corrected p values of several tests: at most 5 % of studies have a false one below .05.

    S. Holm, A Simple Sequentially Rejective Multiple Test Procedure, 1979.
    """
    values = np.array(p_values, np.float64)
    order = np.argsort(values, kind="stable")
    remaining = np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * remaining), 1)
    return adjusted.tolist()


def interval_text(bounds: Bounds | None, form: str = ".3f") -> str:
    """``low .. high``; a dash where there is no interval."""
    return f"{bounds[0]:{form}} .. {bounds[1]:{form}}" if bounds else "-"
