"""Intervals and tests over writers: people, not images, are the sample."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import bootstrap, permutation_test, t as student

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


def by_writer(values: npt.NDArray[np.bool_], writers: Int64) -> Float64:
    """The mean of N values for each writer: people, not images, are the sample."""
    return np.array([values[writers == writer].mean() for writer in np.unique(writers)])


def interval(per_writer: Float64, num_resamples: int) -> tuple[float, float] | None:
    """A 95 % interval of the mean over writers, by percentile bootstrap.

    Args:
        per_writer: (W,) a value for each writer.
        num_resamples: of the bootstrap.

    Returns:
        Low and high; None for one writer, who is no sample.
    """
    if len(per_writer) < 2:
        return None
    if np.ptp(per_writer) == 0:
        return float(per_writer.mean()), float(per_writer.mean())
    found = bootstrap(
        (per_writer,), np.mean, n_resamples=num_resamples, method="percentile", rng=0
    ).confidence_interval
    return float(found.low), float(found.high)


def interval_of_few(values: Float64) -> tuple[float, float] | None:
    """A 95 % interval of the mean by Student's t: of five values a bootstrap is much too narrow.

    Args:
        values: (N,) such as one for each seed.

    Returns:
        Low and high; None for one value.
    """
    if len(values) < 2:
        return None
    mean, deviation = float(values.mean()), float(values.std(ddof=1))
    half = float(student.ppf(0.975, len(values) - 1)) * deviation / len(values) ** 0.5
    return mean - half, mean + half


def sign_flip_p(per_writer: Float64) -> float:
    """The p of a mean gain under no gain: a paired permutation test, two-sided, writers the sample.

    Without a gain each writer's difference would be as likely with the other sign. Exact for up to
    13 writers, so that p is at least ``2 / 2**W``; random signs beyond.

    Args:
        per_writer: (W,) differences of two arms.
    """
    if len(per_writer) < 2:
        return 1.0
    found = permutation_test((per_writer,), np.mean, permutation_type="samples", rng=0)
    return float(found.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Corrected p values of several tests: any below .05 is then a false one in 5 % of studies.

    S. Holm, A Simple Sequentially Rejective Multiple Test Procedure, 1979.
    """
    values = np.array(p_values, np.float64)
    order = np.argsort(values, kind="stable")
    remaining = np.arange(len(values), 0, -1)
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(np.maximum.accumulate(values[order] * remaining), 1)
    return corrected.tolist()


def interval_text(bounds: tuple[float, float] | None, form: str = ".3f") -> str:
    """``low .. high``; a dash where there is no interval."""
    return f"{bounds[0]:{form}} .. {bounds[1]:{form}}" if bounds else "-"
