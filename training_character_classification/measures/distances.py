"""How far a source's images are from handwriting: distances between two sets of images.

They are distances in features of the judge, and in properties that can be measured directly: stroke
width, grey level, position. Fréchet distance, precision, recall and coverage depend on the number
of images, so both sets have the same number of each character. With too few images they are None.
"""

from functools import partial

import numpy as np
from scipy.linalg import qr
from scipy.spatial.distance import cdist
from scipy.stats import wasserstein_distance
from sklearn.metrics.pairwise import polynomial_kernel

from handwriting.images.canonical import Uint8
from handwriting.reports.statistics import Float64, Int64
from training_character_classification.measures.quality import ratio

_KERNEL = partial(polynomial_kernel, degree=3, gamma=1)
APPEARANCE = ("stroke_width", "grey_level", "centroid")


def match_class_counts(labels: Int64, other: Int64) -> tuple[Int64, Int64]:
    """Which images of two sets to compare: the first ones of each class, equally many in both.

    Maps labels (N,) and (M,) to indices (P,) into the one and into the other.
    """
    ours, theirs = [], []
    for label in np.union1d(labels, other):
        found = np.flatnonzero(labels == label), np.flatnonzero(other == label)
        size = min(map(len, found))
        ours.append(found[0][:size])
        theirs.append(found[1][:size])
    return np.concatenate(ours), np.concatenate(theirs)


def frechet_distance(real: Float64, other: Float64) -> float:
    """The squared Fréchet distance between Gaussians fitted to two sets of features.

    M. Heusel et al., GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash
    Equilibrium, 2017: |m1 - m2|^2 + Tr(S1 + S2 - 2 (S1 S2)^1/2). The fewer the images, the larger
    it is.

    Args:
        real, other: (N, D) and (M, D).
    """
    apart = real.mean(axis=0) - other.mean(axis=0)
    r1, r2 = _root_of_covariance(real), _root_of_covariance(other)
    # Tr (S1 S2)^1/2 is the sum of the singular values of R1 R2^T, which avoids the matrix root of
    # a product that may be singular.
    shared = np.linalg.norm(r1 @ r2.T, "nuc")
    return float(apart @ apart + (r1**2).sum() + (r2**2).sum() - 2 * shared)


def _root_of_covariance(values: Float64) -> Float64:
    """R with S = R^T R, (min(N, D), D)."""
    return qr(values - values.mean(axis=0), mode="economic")[1] / np.sqrt(len(values) - 1)


def kernel_distance(
    real: Float64, labels: Int64, other: Float64, other_labels: Int64
) -> float | None:
    """The squared maximum mean discrepancy of two sets of features, averaged over classes.

    M. Bińkowski et al., Demystifying MMD GANs, 2018: the cubic polynomial kernel (x.y + 1)^3 and
    the unbiased estimate. Computed class by class, so that it does not depend on the number of
    images of each.

    Args:
        real, other: (N, D) and (M, D), of about unit length, since the kernel fixes the scale.

    Returns:
        Around 0 for two samples of one distribution; None if no class has two images in both.
    """
    found = []
    for label in np.unique(labels):
        x, y = real[labels == label], other[other_labels == label]
        if min(len(x), len(y)) > 1:
            found.append(_within(x) + _within(y) - 2 * _KERNEL(x, y).mean())
    return float(np.mean(found)) if found else None


def _within(values: Float64) -> float:
    """The mean kernel over pairs of different images of one set."""
    kernel = _KERNEL(values)
    return float((kernel.sum() - kernel.trace()) / (len(kernel) * (len(kernel) - 1)))


def neighbourhoods(real: Float64, other: Float64) -> dict[str, float]:
    """Precision, recall, density and coverage of a set of features, by nearest neighbours.

    Every image has a ball that reaches to the nearest other image of its own set. Precision and
    recall: T. Kynkäänniemi et al., Improved Precision and Recall Metric for Assessing Generative
    Models, 2019. Density and coverage: M. F. Naeem et al., Reliable Fidelity and Diversity Metrics
    for Generative Models, 2020. Both papers use the third or fifth nearest of many thousands of
    images; with five images per class the fifth is of another class, and every source would have a
    recall above 0.9.

    Args:
        real, other: (N, D) each.

    Returns:
        precision: share of the others that lie in a real one's ball. recall: share of the real ones
        that lie in another's ball. density: mean number of real ones' balls that another lies in (1
        for a second sample of the real distribution). coverage: share of the real ones' balls that
        contain another (one half for such a sample).
    """
    distances = cdist(real, other)
    in_real, in_other = distances <= _to_nearest(real)[:, None], distances <= _to_nearest(other)
    return {
        "precision": float(in_real.any(axis=0).mean()),
        "recall": float(in_other.any(axis=1).mean()),
        "density": float(in_real.sum(axis=0).mean()),
        "coverage": float(in_real.any(axis=1).mean()),
    }


def _to_nearest(values: Float64) -> Float64:
    """The distance from each image to the nearest other, (N,)."""
    return np.partition(cdist(values, values), 1, axis=1)[:, 1]  # the first is its own, 0


def appearance(images: Uint8) -> Float64:
    """Stroke width, grey level and centroid of images.

    Args:
        images: (N, H, W) uint8, bright ink on dark; none is blank.

    Returns:
        (N, 4): twice the ink over the length of its edges (px, whatever its grey), the mean level
        of the pixels with ink, and the centroid of the ink, x and y (px).
    """
    ink = images.astype(np.float64)
    total = ink.sum(axis=(1, 2))
    padded = np.pad(ink, ((0, 0), (1, 1), (1, 1)))
    down, across = np.diff(padded, axis=1)[:, :, :-1], np.diff(padded, axis=2)[:, :-1]
    edges = np.hypot(down, across).sum(axis=(1, 2))
    x = ink.sum(axis=1) @ np.arange(ink.shape[2]) / total
    y = ink.sum(axis=2) @ np.arange(ink.shape[1]) / total
    return np.stack([2 * total / edges, total / (images > 0).sum(axis=(1, 2)), x, y], axis=1)


def appearance_distances(real: Uint8, other: Uint8) -> dict[str, float | None]:
    """How far apart the stroke widths, grey levels and centroids of two sets of images are.

    Wasserstein distances between their distributions, as multiples of the real images' standard
    deviation; for centroids, the mean of x and y.

    Args:
        real, other: (N, H, W) uint8, bright ink on dark.

    Returns:
        None without images, or for a property that is the same in all real ones.
    """
    if not len(real):
        return dict.fromkeys(APPEARANCE)
    ours, theirs = appearance(real), appearance(other)
    apart = [wasserstein_distance(a, b) for a, b in zip(ours.T, theirs.T, strict=True)]
    width, grey, x, y = map(ratio, apart, ours.std(axis=0).tolist())
    centroid = None if x is None or y is None else (x + y) / 2
    return dict(zip(APPEARANCE, (width, grey, centroid), strict=True))
