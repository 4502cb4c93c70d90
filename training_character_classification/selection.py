"""Which generated images a recogniser sees, and how often: the recipe's scores and class weights.

Images are scored, and confused characters found, by networks that saw neither a generated image nor
anybody who validates or tests. Where an arm sees no generated image, its recipe means nothing.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from handwriting.config import Config, Keep, ScoredBy
from handwriting.corpus.bank import Groups, ImageBank
from handwriting.corpus.corpus import Corpus
from handwriting.errors import InputError, report_problems
from handwriting.images.packed import Int64, PackedImages
from handwriting.networks.encoders import Classifier
from handwriting.parallel.rows import Rng, draw_rows
from handwriting.reports.statistics import Float64
from handwriting.runs.inference import batch_outputs, outputs
from handwriting.runs.run import run_folder
from handwriting.runs.runtime import Runtime
from handwriting.runs.weights import Weights, build, load_weights
from training_character_classification.arms import CONTROL_WORDS, held_out
from training_clip.retrieval import ImageTower, class_embeddings, load_clip

Scorers = dict[ScoredBy, Weights]
TRAIN_RECOGNISER = "training_character_classification/train.py"
TRAIN_CLIP = "training_clip/train_clip.py"


def generated_banks(
    config: Config, corpus: Corpus, generated: list[PackedImages], scorers: Scorers,
    runtime: Runtime,
) -> list[ImageBank]:  # fmt: skip
    """What the recipe keeps of each source of generated images, drawn as the recipe says."""
    chosen = [keep_images(config, corpus, images, scorers, runtime) for images in generated]
    if not (generated and config.recipe.by_confusion):
        return [ImageBank(images, runtime.device) for images in chosen]
    weights = class_weights(confusion(scorers[ScoredBy.recogniser], corpus.validation, runtime))
    return [ClassBank(images, runtime.device, weights) for images in chosen]


# Scorers ------------------------------------------------------------------------------------------


def read_scorers(config: Config, corpus: Corpus) -> Scorers:
    """The weights that the recipe needs, checked to be independent.

    ``recipe.scorer`` names those that score images; a recogniser is by default this study's
    ``evidence.control`` of the same seed.

    Raises:
        InputError: missing weights, of other characters, or that saw what they must not.
    """
    recipe, folder = config.recipe, run_folder(config)
    needed = {recipe.scored_by} if recipe.keep in (Keep.top, Keep.band) else set()
    needed |= {ScoredBy.recogniser} if recipe.by_confusion else set()
    control = folder / "classifier" / config.evidence.control / f"seed_{config.seed}"
    homes = {
        ScoredBy.recogniser: (control, "classifier", TRAIN_RECOGNISER),
        ScoredBy.clip: (config.clip_weight or folder / "clip", "clip", TRAIN_CLIP),
    }
    found = {}
    for how in sorted(needed):
        home, kind, made_by = homes[how]
        named = recipe.scorer if how == recipe.scored_by else None
        found[how] = load_weights(named or home, kind, made_by)
        check_independent(found[how], corpus)
    return found


def check_independent(weights: Weights, corpus: Corpus) -> None:
    """Check that a scorer knows the classes and saw neither held-out people nor generated images.

    Raises:
        InputError: it did.
    """
    weights.require_characters(corpus.characters)
    problems = [
        f"was trained on {writer}, who validates or tests"
        for writer in sorted(held_out(corpus) & set(weights.facts["writers_seen"]))
    ]
    arm = weights.facts.get("arm", "")  # CLIP is no arm
    if weights.kind == "classifier" and not set(arm.split("+")) <= CONTROL_WORDS:
        problems.append(
            f"is the arm {arm}, which may have seen generated images: expected one of "
            f"{', '.join(sorted(CONTROL_WORDS))}, such as real+fonts+classical"
        )
    report_problems(
        f"recipe: {weights.path}", problems,
        "Name the weights of a control in recipe.scorer, or null for evidence.control.",
    )  # fmt: skip


def likelihoods(
    weights: Weights, images: PackedImages, runtime: Runtime
) -> Iterator[tuple[int, Int64, Float64]]:
    """What a recogniser takes images for: class, its images' indices (n,), softmax (n, K)."""
    network = runtime.freeze(build(Classifier, weights))
    # Class by class: of thousands of classes, all likelihoods of all images fill the memory.
    for label in np.unique(images.labels):
        indices = np.flatnonzero(images.labels == label)
        logits = outputs(network, images.select(indices), runtime)
        # In float32, an easy image's likelihood is 1, and easy ones could not be ranked.
        yield int(label), indices, logits.double().softmax(dim=1).numpy()


# Which images -------------------------------------------------------------------------------------


def keep_images(
    config: Config, corpus: Corpus, images: PackedImages, scorers: Scorers, runtime: Runtime
) -> PackedImages:
    """The images of a source that the recipe keeps."""
    recipe = config.recipe
    if recipe.keep == Keep.all:
        return images
    if recipe.keep == Keep.random:
        scores = np.random.default_rng(config.seed).random(len(images))
    elif recipe.scored_by == ScoredBy.clip:
        scores = clip_scores(scorers[ScoredBy.clip], images, config, corpus, runtime)
    else:
        scores = recogniser_scores(scorers[ScoredBy.recogniser], images, runtime)
    is_band = recipe.keep == Keep.band
    return images.select(kept(scores, images.labels, recipe.keep_share, is_band))


def recogniser_scores(weights: Weights, images: PackedImages, runtime: Runtime) -> Float64:
    """The likelihood of each image's intended character, (N,) in [0, 1]."""
    scores = np.zeros(len(images))
    for label, indices, given in likelihoods(weights, images, runtime):
        scores[indices] = given[:, label]
    return scores


def clip_scores(
    weights: Weights, images: PackedImages, config: Config, corpus: Corpus, runtime: Runtime
) -> Float64:
    """The cosine of each image's embedding and its character's text, (N,) in [-1, 1]."""
    network, texts = load_clip(weights, config, corpus)
    runtime.freeze(network)
    by_class = class_embeddings(network, texts.to(runtime.device), runtime).cpu()  # (K, D)
    labels = torch.from_numpy(images.labels)
    batches = batch_outputs(ImageTower(network), images, runtime)
    cosines = [(embedded * by_class[labels[batch]]).sum(dim=1) for batch, embedded in batches]
    return torch.cat(cosines).double().numpy()


def kept(scores: Float64, labels: Int64, share: float, is_band: bool) -> Int64:
    """The indices of the images that are kept, in order.

    However they are chosen, as many are kept of each class: its share, and at least one.

    Args:
        scores, labels: (N,).
        share: of each class's images.
        is_band: those in the middle of the ranking, as many being left out above as below;
            otherwise the best.

    Raises:
        InputError: a share outside 0 to 1, or 0.
    """
    if not 0 < share <= 1:
        raise InputError(f"recipe.keep_share={share}: expected a share above 0, at most 1")
    found = []
    for label in np.unique(labels):
        indices = np.flatnonzero(labels == label)
        ranked = indices[np.argsort(-scores[indices], kind="stable")]
        num_kept = max(1, round(share * len(ranked)))
        first = (len(ranked) - num_kept) // 2 if is_band else 0
        found.append(ranked[first : first + num_kept])
    return np.sort(np.concatenate(found))


# How often ----------------------------------------------------------------------------------------


def confusion(weights: Weights, images: PackedImages, runtime: Runtime) -> Float64:
    """Row c: the mean likelihoods that images of class c are given, (K, K); NaN without images."""
    num_classes = len(images.characters)
    found = np.full((num_classes, num_classes), np.nan)
    for label, _, given in likelihoods(weights, images, runtime):
        found[label] = given.mean(axis=0)
    return found


def class_weights(likelihoods: Float64) -> Float64:
    """How often each class is drawn, (K,), sum 1: half of it uniform, half by its confusion.

    Confusion of c: what its images give to other classes and what the images of others give to it.
    A class without images is taken to give as much as the others do on average.

    Args:
        likelihoods: (K, K), see :func:`confusion`.
    """
    num_classes = len(likelihoods)
    between = np.where(np.eye(num_classes, dtype=bool), 0, likelihoods)
    given = between.sum(axis=1)
    given = np.where(np.isnan(given), np.nanmean(given), given)
    # Where nothing is confused at all, every class is as confused as any other.
    confused = given + np.nansum(between, axis=0) + np.finfo(np.float64).tiny
    weights: Float64 = 0.5 / num_classes + 0.5 * confused / confused.sum()
    return weights


class ClassBank(ImageBank):
    """A bank that draws a class by its weight, then any image of the class.

    Args:
        packed: images of every class.
        weights: (K,) of the classes, relative to each other.
    """

    def __init__(self, packed: PackedImages, device: torch.device, weights: Float64) -> None:
        super().__init__(packed, device)
        self._by_class = Groups(self.labels, len(weights))
        self._bounds = torch.from_numpy(np.cumsum(weights) / np.sum(weights)).to(device)

    def draw(self, size: int, rng: Rng) -> Tensor:
        """(size,) indices, every image of a class equally likely."""
        unit = draw_rows(lambda n, **at: torch.rand(n, dtype=torch.float64, **at), size, rng)
        return self._by_class.draw(torch.searchsorted(self._bounds, unit, right=True), rng)
