"""The quality of a source of images: realism, diversity, the intended hand, novelty.

Except by the domain probe, images are compared with others of the same character. A measure that
does not apply, such as the intended writer of images that have none, is None.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from handwriting.images.canonical import Uint8, margin_px
from handwriting.images.manifest import UNKNOWN_WRITER
from handwriting.images.packed import PackedImages
from handwriting.networks.encoders import ImageEncoder
from handwriting.reports.statistics import Float64, Int64

MAX_PER_CHARACTER = 100  # images
NUM_FOLDS = 5  # of cross-validation


def sampled(images: PackedImages, labels: Int64, most: int = MAX_PER_CHARACTER) -> PackedImages:
    """At most ``most`` random images of each class in ``labels``, shuffled."""
    rng = np.random.default_rng(0)
    order = rng.permutation(len(images))
    chosen = [order[images.labels[order] == label][:most] for label in labels]
    return images.select(rng.permutation(np.concatenate(chosen)))


def ratio(value: float | None, reference: float | None) -> float | None:
    """One measure as a multiple of another; None if either is None or the reference is zero."""
    return value / reference if value is not None and reference else None


class StageFeatures(nn.Module):
    """Channel means of an encoder's feature maps and, for style, their deviations.

    Style is defined as in AdaIN, on the finest maps (X. Huang, S. Belongie, Arbitrary Style
    Transfer in Real-Time with Adaptive Instance Normalization, 2017). From it, a probe attributes
    50 % of images to the right one of five people who wrote katakana (chance 20 %); from all stages
    together 45 %, from the features before the last layer 46 %, from pixels 29 %. Otherwise the
    coarsest maps are used: 128 numbers at width 32, whereas the features before the last layer are
    2,048, too many for the covariance of a few hundred images.
    """

    def __init__(self, encoder: ImageEncoder, is_style: bool) -> None:
        super().__init__()
        self.encoder, self.is_style = encoder, is_style

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 1, H, W) in [-1, 1] to (B, C), style to (B, 2 C)."""
        maps = self.encoder.stages(images)[0 if self.is_style else -1]
        mean = maps.mean((2, 3))
        if not self.is_style:
            return mean
        spread = maps.std((2, 3)) if len(maps) else mean  # torch warns about an empty batch
        return torch.cat([mean, spread], dim=1)


def linear_probe() -> Pipeline:
    """Logistic regression on features of any scale, regularised for more features than images."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))


def domain_auc(real: Float64, other: Float64) -> float | None:
    """How well a linear probe tells features (N, D) and (M, D) apart, cross-validated.

    The larger set is cut to the smaller's size.

    Returns:
        Area under the ROC curve: 0.5 if indistinguishable, 1 if separable; None for fewer images
        than folds.
    """
    size = min(len(real), len(other))
    if size < NUM_FOLDS:
        return None
    values = np.concatenate([real[:size], other[:size]])
    labels = np.repeat([0, 1], size)
    folds = StratifiedKFold(NUM_FOLDS, shuffle=True, random_state=0)
    likelihood = cross_val_predict(linear_probe(), values, labels, cv=folds, method="predict_proba")
    return float(roc_auc_score(labels, likelihood[:, 1]))


def spread(features: Float64, labels: Int64, owners: Int64) -> float | None:
    """The mean Euclidean distance between two images of one class, averaged over classes.

    It is Euclidean so that images that differ half as much are half as diverse, and a mean over
    pairs so that it does not depend on the number of images.

    Args:
        features: (N, D).
        labels: (N,) classes.
        owners: (N,) pairs with the same owner are left out. With an index per image, only the image
            itself is; with its writer, all pairs by one person are.

    Returns:
        0 if all images of a class are equal; None if no class has a pair.
    """
    found = []
    for label in np.unique(labels):
        chosen = labels == label
        pairs = owners[chosen, None] != owners[None, chosen]
        if pairs.any():
            found.append(cdist(features[chosen], features[chosen])[pairs].mean())
    return float(np.mean(found)) if found else None


class WriterProbe:
    """Attributes images to training writers by style, whatever the character.

    The mean style of each character over the writers is subtracted. An image is attributed by a
    probe that was fitted on other characters.

    Args:
        style: (N, S) of the writers' own images.
        labels: (N,) classes; those that fewer than two people wrote are ignored.
        writers: (N,) names.

    Attributes:
        names: of the writers that it distinguishes.
    """

    def __init__(self, style: Float64, labels: Int64, writers: npt.NDArray[Any]) -> None:
        self.names = sorted(set(writers.tolist()) - {UNKNOWN_WRITER})
        self._means = np.zeros((int(labels.max(initial=-1)) + 1, style.shape[1]))
        shared = []
        for label in np.unique(labels):
            self._means[label] = style[labels == label].mean(axis=0)
            if len(np.unique(writers[labels == label])) > 1:
                shared.append(label)
        order = np.random.default_rng(0).permutation(np.array(shared, np.int64))
        self._probes: list[tuple[Int64, Pipeline]] = []
        if len(order) < 2:
            return
        for fold in np.array_split(order, min(NUM_FOLDS, len(order))):
            rest = np.isin(labels, np.setdiff1d(order, fold))
            own = style[rest] - self._means[labels[rest]]
            self._probes.append((fold, linear_probe().fit(own, writers[rest])))

    def match(self, style: Float64, labels: Int64, writers: npt.NDArray[Any]) -> float | None:
        """The share of images attributed to the intended writer.

        Args:
            style: (M, S).
            labels: (M,) classes.
            writers: (M,) the intended ones; images of others than ``names`` are left out.

        Returns:
            1 / ``len(names)`` by chance; None if no image has an intended writer, or there is only
            one writer.
        """
        right = []
        for fold, probe in self._probes:
            chosen = np.isin(labels, fold) & np.isin(writers, self.names)
            if chosen.any():
                own = style[chosen] - self._means[labels[chosen]]
                right.append(probe.predict(own) == writers[chosen])
        return float(np.concatenate(right).mean()) if right else None


def writers_of(images: PackedImages) -> npt.NDArray[Any]:
    """The name of each image's writer, (N,)."""
    return np.array(images.writer_names)[images.writers]


def nearest_distance(images: PackedImages, seen: PackedImages, num_skipped: int) -> float | None:
    """The median distance from an image to the nearest of its class among those seen in training.

    Args:
        images: to measure.
        seen: by the generator, over the same characters.
        num_skipped: how many of the nearest to skip: 1 if the images are themselves among those
            seen, 0 otherwise.

    Returns:
        Root mean squared difference in grey levels after :func:`_blurred`; 0 for copies;
        None if no class has enough images.
    """
    found = []
    for label in np.unique(images.labels):
        others = seen.images[seen.labels == label]
        if len(others) > num_skipped:
            own = images.images[images.labels == label]
            distances = cdist(_blurred(own), _blurred(others)) / images.size_px
            found.append(np.partition(distances, num_skipped, axis=1)[:, num_skipped])
    return float(np.median(np.concatenate(found))) if found else None


def _blurred(images: Uint8) -> Float64:
    """Images (N, H, W) as (N, H W), blurred by a Gaussian as wide as the margin.

    A copy shifted by one pixel in 32 is then at 0.56 of the distance of another person's image;
    unblurred strokes, which cease to overlap at once, would put it at 0.87.
    """
    width = margin_px(images.shape[-1])
    return gaussian_filter(images.astype(np.float64), (0, width, width)).reshape(len(images), -1)
