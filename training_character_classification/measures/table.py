"""The measures of a source of images beside handwriting: a new one is a row and its value.

Names are the keys of ``metrics.json``; titles and meanings stand in reports.
"""

from dataclasses import dataclass

import numpy as np
from torch import nn

from handwriting.corpus.corpus import Corpus
from handwriting.images.packed import Int64, PackedImages, concatenate
from handwriting.networks.encoders import Classifier
from handwriting.reports.statistics import Float64
from handwriting.runs.inference import outputs, predict
from handwriting.runs.runtime import Runtime
from training_character_classification.measures import distances, quality

MAX_CHARACTERS = 100  # that are looked at, the same ones in every source
MAX_COMPARED = 2000  # images per side of the domain probe and of the distances


class Yardstick:
    """What sources are measured by: people whom no generator saw, and everything that one saw.

    Attributes:
        judge: a recogniser that saw neither training writers nor generated images.
        labels: the characters that are looked at.
        people: features of the people whom no generator saw, (P, D); ``spread`` between them.
        seen: what generators learn from; ``nearest`` is how far other people are from it.
        probe: tells the training writers from each other.
        reference: equally many of the people's images of each character, for distances; their
            coarse ``features`` are centred and have a variance of 1 in all, so that distances by
            two judges can be compared.
    """

    def __init__(self, judge: Classifier, corpus: Corpus, runtime: Runtime) -> None:
        self.judge, self.runtime = judge, runtime
        people = concatenate([corpus.validation, corpus.test])
        tested = np.unique(people.labels)
        self.labels: Int64 = np.random.default_rng(0).permutation(tested)[:MAX_CHARACTERS]
        people = quality.sampled(people, self.labels)
        self.people = self.outputs(judge.encoder, people)
        self.spread = quality.spread(self.people, people.labels, people.writers)
        known = [corpus.without_unseen(part) for part in corpus.sources.values()]
        self.seen = concatenate([part.select(np.isin(part.labels, self.labels)) for part in known])
        self.nearest = quality.nearest_distance(people, self.seen, num_skipped=0)
        self.style = quality.StageFeatures(judge.encoder, is_style=True)
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
        self._centre, self._scale = coarse.mean(axis=0), np.sqrt(coarse.var(axis=0).sum())
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


@dataclass(frozen=True)
class Measure:
    """A measure of a source of images."""

    name: str  # key in metrics.json
    title: str  # in tables
    unit: str
    best: str  # which way is better, or the value of other people's images
    meaning: str


MEASURES = (
    Measure("content_accuracy", "read as intended", "share", "high",
            "images that the judge reads as the intended character"),
    Measure("diversity", "diversity", "ratio", "1",
            "distance between images of one character, beside that between people; 0: all alike"),
    Measure("style_match", "attributed to the intended writer", "share", "high",
            "images that a probe of style attributes to the intended writer"),
    Measure("domain_auc", "real-vs-generated AUC", "area", "0.5",
            "how well a linear probe tells the images from handwriting; 1: always"),
    Measure("nearest_distance", "distance to training images", "ratio", "1",
            "distance to the nearest image that generators saw, beside a new person's; 0: copies"),
    Measure("frechet_distance", "Fréchet distance", "people's variance", "low",
            "distance between means and covariances of the judge's features and of people's"),
    Measure("kernel_distance", "kernel distance", "squared MMD", "low",
            "distance between the distributions of those features, character by character"),
    Measure("precision", "precision", "share", "high",
            "images that are as near to one of people's as the next of people's is"),
    Measure("recall", "recall", "share", "high",
            "people's images that are as near to one of these as the next of these is"),
    Measure("density", "density", "mean count", "1",
            "how many of people's images one of these is as near to as the next of people's is"),
    Measure("coverage", "coverage", "share", "0.5",
            "people's images that have one of these as near as the next of people's"),
    Measure("stroke_width", "stroke width", "people's deviation", "low",
            "distance between the distributions of stroke widths"),
    Measure("grey_level", "grey level", "people's deviation", "low",
            "distance between the distributions of the mean level of ink"),
    Measure("centroid", "centroid", "people's deviation", "low",
            "distance between the distributions of where the ink is, across and down"),
)  # fmt: skip
TITLES = {measure.name: measure.title for measure in MEASURES}


def measured(by: Yardstick, images: PackedImages, is_seen: bool) -> dict[str, float | None]:
    """The value of every measure, by name, and the number of images; None: nothing can be said.

    Args:
        by: what they are measured by.
        images: all of a source.
        is_seen: whether they are themselves among what generators are trained on.
    """
    some = quality.sampled(images, by.labels)
    features = by.outputs(by.judge.encoder, some)
    style = by.outputs(by.style, some)
    nearest = quality.nearest_distance(some, by.seen, num_skipped=int(is_seen))
    compared = quality.sampled(images, by.labels, by.max_of_each)
    coarse = by.coarse(compared)
    ours, theirs = distances.match_class_counts(by.reference.labels, compared.labels)
    found = {
        "content_accuracy": float((predict(by.judge, images, by.runtime) == images.labels).mean()),
        "diversity": quality.ratio(
            quality.spread(features, some.labels, np.arange(len(some))), by.spread
        ),
        "style_match": by.probe.match(style, some.labels, quality.writers_of(some)),
        "domain_auc": quality.domain_auc(by.people[:MAX_COMPARED], features[:MAX_COMPARED]),
        "nearest_distance": quality.ratio(nearest, by.nearest),
        "kernel_distance": distances.kernel_distance(
            by.features, by.reference.labels, coarse, compared.labels
        ),
        **distances.appearance_distances(by.reference.images[ours], compared.images[theirs]),
    }
    if len(ours) > coarse.shape[1]:  # no more images than numbers have no covariance to compare
        pair = by.features[ours], coarse[theirs]
        found |= {
            "frechet_distance": distances.frechet_distance(*pair),
            **distances.neighbourhoods(*pair),
        }
    else:
        found |= dict.fromkeys(["frechet_distance", "precision", "recall", "density", "coverage"])
    return {**{measure.name: found[measure.name] for measure in MEASURES}, "images": len(images)}
