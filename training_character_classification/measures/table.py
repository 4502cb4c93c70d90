"""The measures of a source of images beside handwriting: a new one is a row with its function.

Names are the keys of ``metrics.json``; titles and meanings stand in reports.
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

MAX_CHARACTERS = 100  # that are looked at, the same ones in every source
MAX_COMPARED = 2000  # images per side of the domain probe and of the distances
MAX_READ = 300  # images of a source that the judge from outside reads, in three seconds


class Yardstick:
    """What sources are measured by: people whom no generator saw, and everything that one saw.

    Attributes:
        judge: a recogniser that saw neither training writers nor generated images.
        outside: the judge from outside; None where it is not installed.
        labels: the characters that are looked at.
        people: features of the people whom no generator saw, (P, D); ``spread`` between them.
        seen: what generators learn from; ``nearest`` is how far other people are from it.
        probe: tells the training writers from each other; ``written`` is what they wrote.
        reference: equally many of the people's images of each character, for distances; their
            coarse ``features`` are centred and have a variance of 1 in all, so that distances by
            two judges can be compared. Without people there is none, and what compares is None.
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
        # Every row is compared with as many as the training writers' is, if those are enough.
        few, _ = distances.match_class_counts(reference.labels, own.labels)
        if len(few) > coarse.shape[1]:
            reference, coarse = reference.select(few), coarse[few]
        unit = coarse if reference else self.outputs(self._coarse, own)
        self._centre, self._scale = unit.mean(axis=0), np.sqrt(unit.var(axis=0).sum())
        self.reference, self.features = reference, (coarse - self._centre) / self._scale

    @property
    def style_chance(self) -> float | None:
        """How often a writer is told by chance; None for one training writer."""
        num_writers = len(self.probe.names)
        return 1 / num_writers if num_writers > 1 else None

    def coarse(self, images: PackedImages) -> Float64:
        return (self.outputs(self._coarse, images) - self._centre) / self._scale

    def outputs(self, network: nn.Module, images: PackedImages) -> Float64:
        return outputs(network, images, self.runtime).double().numpy()


class Sample:
    """A source of images beside a yardstick. What several measures need is computed once.

    Args:
        yardstick: what it is measured by.
        images: all of the source.
        is_seen: whether they are themselves among what generators are trained on.
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
        """Which of the people's images and which of its own are compared, (P,) each."""
        return distances.match_class_counts(self.by.reference.labels, self._compared.labels)

    @cached_property
    def _pair(self) -> tuple[Float64, Float64] | None:
        """Equally many features of people and of the source; None for no more than numbers."""
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
    best: str  # which way is better, or the value of other people's images
    value: Callable[[Sample], float | None]  # None where nothing can be said
    meaning: str


OUTSIDE = "outside_accuracy"
MEASURES = (
    Measure("content_accuracy", "read as intended, own judge", "share", "high", Sample.accuracy,
            "images that the judge, this project's own, reads as the intended character"),
    Measure(OUTSIDE, "read as intended, outside judge", "share", "high", Sample.outside_accuracy,
            f"the same by {outside_judge.NAME}, which saw none of this project's data, of at most "
            f"{MAX_READ} images; it misreads one real katakana in six: compare with people's"),
    Measure("diversity", "diversity", "ratio", "1", Sample.diversity,
            "distance between images of one character, beside that between people; 0: all alike"),
    Measure("style_match", "attributed to the intended writer", "share", "high", Sample.style_match,
            "images that a probe of style attributes to the intended writer"),
    Measure("slant_agreement", "slant follows the writer", "concordance", "1",
            lambda s: s.agreement["slant"],
            "how much more or less than others a writer slants, or raises lines, character by "
            "character, in images in the hand as in what the writer wrote: 1 as much, 0 not at "
            "all. Of what generators saw, half of each hand's images beside the other half; "
            f"nothing below {style.MIN_WRITERS} writers, and of few it is uncertain"),
    Measure("width_agreement", "stroke width follows the writer", "concordance", "1",
            lambda s: s.agreement["width"],
            "the same of stroke widths (their logarithms)"),
    Measure("proportion_agreement", "proportion follows the writer", "concordance", "1",
            lambda s: s.agreement["proportion"],
            "the same of how wide the ink is for its height"),
    Measure("domain_auc", "real-vs-generated AUC", "area", "0.5", Sample.domain_auc,
            "how well a linear probe tells the images from handwriting; 1: always"),
    Measure("nearest_distance", "distance to training images", "ratio", "1", Sample.nearest,
            "distance to the nearest image that generators saw, beside a new person's; 0: copies"),
    Measure("frechet_distance", "Fréchet distance", "people's variance", "low", Sample.frechet,
            "distance between means and covariances of the judge's features and of people's"),
    Measure("kernel_distance", "kernel distance", "squared MMD", "low", Sample.kernel_distance,
            "distance between the distributions of those features, character by character"),
    Measure("precision", "precision", "share", "high", lambda s: s.neighbourhoods.get("precision"),
            "images that are as near to one of people's as the next of people's is"),
    Measure("recall", "recall", "share", "high", lambda s: s.neighbourhoods.get("recall"),
            "people's images that are as near to one of these as the next of these is"),
    Measure("density", "density", "mean count", "1", lambda s: s.neighbourhoods.get("density"),
            "how many of people's images one of these is as near to as the next of people's is"),
    Measure("coverage", "coverage", "share", "0.5", lambda s: s.neighbourhoods.get("coverage"),
            "people's images that have one of these as near as the next of people's"),
    Measure("stroke_width", "stroke width", "people's deviation", "low",
            lambda s: s.appearance["stroke_width"],
            "distance between the distributions of stroke widths"),
    Measure("grey_level", "grey level", "people's deviation", "low",
            lambda s: s.appearance["grey_level"],
            "distance between the distributions of the mean level of ink"),
    Measure("centroid", "centroid", "people's deviation", "low",
            lambda s: s.appearance["centroid"],
            "distance between the distributions of where the ink is, across and down"),
)  # fmt: skip
TITLES = {measure.name: measure.title for measure in MEASURES}


def available() -> tuple[Measure, ...]:
    """The measures that can be computed here: the judge from outside is an optional extra."""
    skipped = {OUTSIDE} if outside_judge.installed() is None else set()
    return tuple(measure for measure in MEASURES if measure.name not in skipped)


def measured(by: Yardstick, images: PackedImages, is_seen: bool) -> dict[str, float | None]:
    """The value of every measure, by name, and the number of images."""
    sample = Sample(by, images, is_seen)
    return {**{each.name: each.value(sample) for each in available()}, "images": len(images)}
