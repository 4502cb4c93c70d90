"""The measures of an image source compared with handwriting: a new one is a row with its function.

Names are the keys of ``metrics.json``; titles and meanings appear in reports.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import nn

from handwriting.corpus.corpus import Corpus
from handwriting.images.packed import Int64, PackedImages, concatenate
from handwriting.networks.encoders import Classifier
from handwriting.reports.statistics import Float64
from handwriting.runs.inference import outputs, predict
from handwriting.runs.runtime import Runtime
from training_character_classification.measures import distances, outside_judge, quality, style
from training_character_classification.measures.outside_judge import OutsideJudge

MAX_CHARACTERS = 100  # that are measured, the same ones in every source
MAX_COMPARED = 2000  # images in each of the two sets of the domain probe and of the distances
MAX_READ = 300  # images of a source that the outside judge reads, in three seconds


class Yardstick:
    """What sources are measured against: people whom no generator saw, and all images that one saw.

    Attributes:
        judge: a recogniser that saw neither training writers nor generated images.
        outside: the outside judge; None if it is not installed.
        labels: the characters that are measured.
        people: features of the people whom no generator saw, (P, D); ``spread`` is the distance
            between them.
        seen: what generators learn from; ``nearest`` is how far those people's images are from it.
        probe: attributes images to training writers; ``written`` is what these wrote.
        reference: equal numbers of those people's images of each character, for distances; their
            coarse ``features`` are centred and scaled to a total variance of 1, so that distances
            by different judges can be compared. Without such people it is empty, and measures that
            compare with them are None.
    """

    def __init__(self, judge: Classifier, corpus: Corpus, runtime: Runtime) -> None:
        self.judge, self.runtime = judge, runtime
        self.outside = OutsideJudge(corpus.characters) if outside_judge.installed() else None
        people = concatenate([corpus.validation, corpus.test])
        shown = np.unique(people.labels if people else corpus.train.labels)
        self.labels: Int64 = np.random.default_rng(0).permutation(shown)[:MAX_CHARACTERS]
        people = quality.sampled(people, self.labels)
        self.people = self.outputs(judge.encoder, people)
        self.spread = quality.spread(self.people, people.labels, people.writers)
        known = [corpus.without_unseen(part) for part in corpus.sources.values()]
        self.seen = concatenate([part.select(np.isin(part.labels, self.labels)) for part in known])
        self.nearest = quality.nearest_distance(people, self.seen, num_skipped=0)
        self.style = quality.StageFeatures(judge.encoder, is_style=True)
        self.written = corpus.train.select(np.isin(corpus.train.labels, self.labels))
        own = quality.sampled(corpus.train, self.labels)
        self.probe = quality.WriterProbe(
            self.outputs(self.style, own), own.labels, quality.writers_of(own)
        )
        self._coarse = quality.StageFeatures(judge.encoder, is_style=False)
        self.max_of_each = MAX_COMPARED // len(self.labels)
        reference = quality.sampled(people, self.labels, self.max_of_each)
        coarse = self.outputs(self._coarse, reference)
        # Every source is compared with as many images as the training writers', if these suffice.
        few, _ = distances.match_class_counts(reference.labels, own.labels)
        if len(few) > coarse.shape[1]:
            reference, coarse = reference.select(few), coarse[few]
        unit = coarse if reference else self.outputs(self._coarse, own)
        self._centre, self._scale = unit.mean(axis=0), np.sqrt(unit.var(axis=0).sum())
        self.reference, self.features = reference, (coarse - self._centre) / self._scale

    @property
    def style_chance(self) -> float | None:
        """The share attributed to the right writer by chance; None below two training writers."""
        num_writers = len(self.probe.names)
        return 1 / num_writers if num_writers > 1 else None

    def coarse(self, images: PackedImages) -> Float64:
        return (self.outputs(self._coarse, images) - self._centre) / self._scale

    def outputs(self, network: nn.Module, images: PackedImages) -> Float64:
        return outputs(network, images, self.runtime).double().numpy()


class Sample:
    """A source of images and what it is measured against; shared intermediate values are cached.

    Args:
        yardstick: what it is measured against.
        images: all images of the source.
        is_seen: whether generators are trained on them.
    """

    def __init__(self, yardstick: Yardstick, images: PackedImages, is_seen: bool) -> None:
        self.by, self._all, self._is_seen = yardstick, images, is_seen
        self._some = quality.sampled(images, yardstick.labels)
        self._compared = quality.sampled(images, yardstick.labels, yardstick.max_of_each)

    def accuracy(self) -> float:
        predicted = predict(self.by.judge, self._all, self.by.runtime)
        return float((predicted == self._all.labels).mean())

    def outside_accuracy(self) -> float | None:
        if self.by.outside is None:
            return None
        few = max(1, MAX_READ // len(self.by.labels))
        chosen = quality.sampled(self._all, self.by.labels, few)
        return self.by.outside.read_as_intended(chosen.images, chosen.labels)

    @cached_property
    def _features(self) -> Float64:
        return self.by.outputs(self.by.judge.encoder, self._some)

    def diversity(self) -> float | None:
        each = np.arange(len(self._some))
        return quality.ratio(
            quality.spread(self._features, self._some.labels, each), self.by.spread
        )

    def style_match(self) -> float | None:
        style = self.by.outputs(self.by.style, self._some)
        return self.by.probe.match(style, self._some.labels, quality.writers_of(self._some))

    @cached_property
    def agreement(self) -> dict[str, float | None]:
        if not self._is_seen:
            return style.agreement(self._some, self.by.written)
        is_shown = np.isin(self._all.labels, self.by.labels)
        return style.agreement(*style.halves(self._all.select(is_shown)))

    def domain_auc(self) -> float | None:
        return quality.domain_auc(self.by.people[:MAX_COMPARED], self._features[:MAX_COMPARED])

    def nearest(self) -> float | None:
        nearest = quality.nearest_distance(self._some, self.by.seen, num_skipped=int(self._is_seen))
        return quality.ratio(nearest, self.by.nearest)

    @cached_property
    def _coarse(self) -> Float64:
        return self.by.coarse(self._compared)

    def kernel_distance(self) -> float | None:
        reference = self.by.reference.labels
        return distances.kernel_distance(
            self.by.features, reference, self._coarse, self._compared.labels
        )

    @cached_property
    def _matched(self) -> tuple[Int64, Int64]:
        """Which of the people's images and which of the source's are compared, (P,) each."""
        return distances.match_class_counts(self.by.reference.labels, self._compared.labels)

    @cached_property
    def _pair(self) -> tuple[Float64, Float64] | None:
        """Equally many features of people and of the source; None if no more than dimensions."""
        ours, theirs = self._matched
        if len(ours) <= self._coarse.shape[1]:
            return None
        return self.by.features[ours], self._coarse[theirs]

    def frechet(self) -> float | None:
        return distances.frechet_distance(*self._pair) if self._pair else None

    @cached_property
    def neighbourhoods(self) -> dict[str, float]:
        return distances.neighbourhoods(*self._pair) if self._pair else {}

    @cached_property
    def appearance(self) -> dict[str, float | None]:
        ours, theirs = self._matched
        return distances.appearance_distances(
            self.by.reference.images[ours], self._compared.images[theirs]
        )


@dataclass(frozen=True)
class Measure:
    """A measure of a source of images."""

    name: str  # key in metrics.json
    title: str  # in tables
    unit: str
    best: str  # which direction is better, or the value for other people's images
    value: Callable[[Sample], float | None]  # None if it does not apply
    meaning: str


OUTSIDE = "outside_accuracy"
MEASURES = (
    Measure("content_accuracy", "read as intended, own judge", "share", "high", Sample.accuracy,
            "images that the judge, this project's own, reads as the intended character"),
    Measure(OUTSIDE, "read as intended, outside judge", "share", "high", Sample.outside_accuracy,
            f"the same by {outside_judge.NAME}, which saw none of this project's data, for at most "
            f"{MAX_READ} images; it misreads one in six real katakana, so compare with people's"),
    Measure("diversity", "diversity", "ratio", "1", Sample.diversity,
            "distance between images of one character, relative to that between people; 0: all "
            "are alike"),
    Measure("style_match", "attributed to the intended writer", "share", "high", Sample.style_match,
            "images that a style probe attributes to the intended writer"),
    Measure("slant_agreement", "slant follows the writer", "concordance", "1",
            lambda s: s.agreement["slant"],
            "whether writers differ in slant (or in how lines rise), character by character, in "
            "the images in their hands as they do in what they wrote: 1 as much, 0 not at all. For "
            "sources that generators saw, half of each writer's images against the other half. Not "
            f"given below {style.MIN_WRITERS} writers, and uncertain with few"),
    Measure("width_agreement", "stroke width follows the writer", "concordance", "1",
            lambda s: s.agreement["width"],
            "the same for stroke widths (their logarithms)"),
    Measure("proportion_agreement", "proportion follows the writer", "concordance", "1",
            lambda s: s.agreement["proportion"],
            "the same for how wide the ink is relative to its height"),
    Measure("domain_auc", "real-vs-generated AUC", "area", "0.5", Sample.domain_auc,
            "how well a linear probe tells the images from handwriting; 1: perfectly"),
    Measure("nearest_distance", "distance to training images", "ratio", "1", Sample.nearest,
            "distance to the nearest image that generators saw, relative to that of a new person's "
            "images; 0: copies"),
    Measure("frechet_distance", "Fréchet distance", "people's variance", "low", Sample.frechet,
            "distance between the judge's features of the images and of people's images, by their "
            "means and covariances"),
    Measure("kernel_distance", "kernel distance", "squared MMD", "low", Sample.kernel_distance,
            "distance between the distributions of those features, character by character"),
    Measure("precision", "precision", "share", "high", lambda s: s.neighbourhoods.get("precision"),
            "images that are at least as near to one of people's images as that one's nearest "
            "neighbour among people's"),
    Measure("recall", "recall", "share", "high", lambda s: s.neighbourhoods.get("recall"),
            "people's images that are at least as near to one of these images as that one's "
            "nearest neighbour among these"),
    Measure("density", "density", "mean count", "1", lambda s: s.neighbourhoods.get("density"),
            "to how many of people's images one of these is at least as near as their nearest "
            "neighbours among people's"),
    Measure("coverage", "coverage", "share", "0.5", lambda s: s.neighbourhoods.get("coverage"),
            "people's images that have one of these at least as near as their nearest neighbour "
            "among people's"),
    Measure("stroke_width", "stroke width", "people's deviation", "low",
            lambda s: s.appearance["stroke_width"],
            "distance between the distributions of stroke widths"),
    Measure("grey_level", "grey level", "people's deviation", "low",
            lambda s: s.appearance["grey_level"],
            "distance between the distributions of the ink's mean grey level"),
    Measure("centroid", "centroid", "people's deviation", "low",
            lambda s: s.appearance["centroid"],
            "distance between the distributions of the ink's centroid, across and down"),
)  # fmt: skip
TITLES = {measure.name: measure.title for measure in MEASURES}


def available() -> tuple[Measure, ...]:
    """The measures that can be computed here: the outside judge is an optional extra."""
    skipped = {OUTSIDE} if outside_judge.installed() is None else set()
    return tuple(measure for measure in MEASURES if measure.name not in skipped)


def measured(by: Yardstick, images: PackedImages, is_seen: bool) -> dict[str, float | None]:
    """The value of every measure, by name, and the number of images."""
    sample = Sample(by, images, is_seen)
    return {**{each.name: each.value(sample) for each in available()}, "images": len(images)}
