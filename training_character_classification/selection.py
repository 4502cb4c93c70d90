"""How often each class is drawn in training: kana more than kanji, or what the control confuses.

Confused characters are found by a network that saw neither a generated image nor a validation or
test writer.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from handwriting.characters.groups import KANA, script_of
from handwriting.config import Config
from handwriting.corpus.audit import check_new, held_out
from handwriting.corpus.bank import Groups, ImageBank
from handwriting.corpus.corpus import Corpus
from handwriting.errors import InputError
from handwriting.images.packed import PackedImages
from handwriting.networks.encoders import Classifier
from handwriting.reports.statistics import Float64
from handwriting.runs.folder import run_folder
from handwriting.runs.inference import outputs
from handwriting.runs.runtime import Runtime
from handwriting.runs.weights import Weights, build, load_weights
from training_character_classification.arms import CONTROL_SOURCES, Arm


def read_control(config: Config, corpus: Corpus) -> Weights:
    """The weights of ``evidence.control`` in this study, of the same seed.

    Raises:
        InputError: there are no validation writers, or the weights are missing, are for other
            characters, or saw held-out people or (by the name of their arm) generated images.
    """
    if not corpus.validation:
        raise InputError(
            "recipe.by_confusion: the control's confusions are measured on validation writers; set "
            "data.validation_writers above 0"
        )
    home = run_folder(config) / "classifier" / config.evidence.control / f"seed_{config.seed}"
    weights = load_weights(home, "classifier", config.size_px)
    weights.require_characters(corpus.characters)
    check_new(weights.path, weights.facts["writers_seen"], held_out(corpus))
    arm = Arm.parse(weights.facts["arm"])
    if not arm.is_control:
        raise InputError(
            f"recipe.by_confusion: {weights.path} is the arm {arm}, which may have seen generated "
            f"images; set evidence.control to an arm that sees only {', '.join(CONTROL_SOURCES)}, "
            "such as real+fonts+classical"
        )
    return weights


def confusion(weights: Weights, images: PackedImages, runtime: Runtime) -> Float64:
    """Row c: the mean likelihoods of all classes for images of class c, (K, K); NaN without any."""
    network = runtime.freeze(build(Classifier, weights))
    found = np.full((len(images.characters),) * 2, np.nan)
    # Class by class: the likelihoods of all images for thousands of classes would fill the memory.
    for label in np.unique(images.labels):
        logits = outputs(network, images.select(images.labels == label), runtime)
        found[label] = logits.double().softmax(dim=1).numpy().mean(axis=0)
    return found


def class_weights(likelihoods: Float64) -> Float64:
    """How often each class is drawn, (K,), sum 1: half of it uniform, half by its confusion.

    The confusion of c is the likelihood that its images give to other classes, plus that which
    images of other classes give to it. A class without images is assumed to give the average.

    Args:
        likelihoods: (K, K), see :func:`confusion`.
    """
    between = likelihoods.copy()
    np.fill_diagonal(between, 0)
    given = between.sum(axis=1)
    given = np.where(np.isnan(given), np.nanmean(given), given)
    # If nothing is confused at all, every class counts as equally confused.
    confused = given + np.nansum(between, axis=0) + np.finfo(np.float64).tiny
    return 0.5 / len(confused) + 0.5 * confused / confused.sum()


def kana_weights(characters: Sequence[str], weight: float) -> Float64:
    """Weights (K,) that draw a kana ``weight`` times as often as any other character."""
    return np.where([script_of(c) in KANA for c in characters], weight, 1.0)


class ClassBank(ImageBank):
    """A bank that draws a class by the weights (K,), then any image of the class.

    Classes without images are never drawn.
    """

    def __init__(self, packed: PackedImages, device: torch.device, weights: Float64) -> None:
        super().__init__(packed, device)
        self._by_class = Groups(self.labels, len(weights))
        present = np.where(self._by_class.counts.cpu().numpy() > 0, weights, 0)
        self._bounds = torch.from_numpy(np.cumsum(present) / np.sum(present)).to(device)

    def draw(self, size: int, rng: torch.Generator) -> Tensor:
        """(size,) indices, every image of a class equally likely."""
        unit = torch.rand(size, generator=rng, device=rng.device, dtype=torch.float64)
        labels = torch.searchsorted(self._bounds, unit, right=True)
        return self._by_class.pick(labels, torch.rand(size, generator=rng, device=rng.device))
