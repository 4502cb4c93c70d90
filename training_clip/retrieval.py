"""Retrieval on held-out writers: how well images find their text, and texts their images."""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from handwriting.characters.vocabulary import (
    ClassTexts,
    Vocabulary,
    class_texts,
    vocabulary_of,
)
from handwriting.config import Structure
from handwriting.corpus.corpus import Corpus
from handwriting.errors import InputError
from handwriting.images.packed import PackedImages
from handwriting.runs.inference import batch_outputs
from handwriting.runs.runtime import Runtime
from handwriting.runs.weights import Weights, build
from training_clip.model import Clip


@torch.no_grad()
def class_embeddings(network: Clip, texts: ClassTexts, runtime: Runtime) -> Tensor:
    """The text embedding of each class: the mean over its alternatives, (K, D), length 1."""
    network.eval()
    num_classes, num_texts, _ = texts.tokens.shape
    with runtime.autocast():
        embedded = network.encode_text(texts.tokens.flatten(0, 1))
    embedded = embedded.view(num_classes, num_texts, -1)
    places = torch.arange(num_texts, device=embedded.device)
    real = (places[None, :] < texts.counts[:, None]).unsqueeze(-1)
    return F.normalize((embedded * real).sum(dim=1), dim=-1)


def frozen_clip(
    weights: Weights, structure: Structure, corpus: Corpus, runtime: Runtime
) -> tuple[Clip, Tensor]:
    """A trained CLIP, frozen, and its :func:`class_embeddings`.

    Raises:
        InputError: it was trained on other characters, or with another vocabulary.
    """
    weights.require_characters(corpus.characters)
    network = runtime.freeze(build(Clip, weights))
    texts = known_texts(weights, structure, corpus)
    own = vocabulary_of(structure, corpus.characters, corpus.seen)
    if unknown := sorted({*own.tokens} - {*texts.vocabulary.tokens}):
        raise InputError(
            f"clip_weight {weights.path} does not know {len(unknown)} of the {len(own)} tokens of "
            f"this study's structure ({' '.join(unknown[:10])}): use the structure.path and the "
            "characters that it was trained with"
        )
    return network, class_embeddings(network, texts.to(runtime.device), runtime)


def known_texts(
    weights: Weights, structure: Structure, corpus: Corpus, add_new: bool = False
) -> ClassTexts:
    """The texts of the study's classes, tokenised for a trained text encoder or CLIP.

    Args:
        add_new: whether tokens that it does not know are appended to its vocabulary.

    Raises:
        InputError: it was trained on texts of another length.
    """
    length = weights.arguments["text"]["context_length"]
    if length != structure.context_length:
        raise InputError(
            f"{weights.path} was trained with structure.context_length={length}, this run has "
            f"{structure.context_length}: set structure.context_length={length}"
        )
    tokens = tuple(weights.facts["vocabulary"])
    if add_new:
        own = vocabulary_of(structure, corpus.characters, corpus.seen)
        tokens += tuple(token for token in own.tokens if token not in tokens)
    vocabulary = Vocabulary(tokens)
    return class_texts(structure, corpus.characters, corpus.seen, vocabulary)


class ImageTower(nn.Module):
    """The image side of CLIP as a network of its own: images to embeddings of length 1."""

    def __init__(self, clip: Clip) -> None:
        super().__init__()
        self.clip = clip

    def forward(self, images: Tensor) -> Tensor:
        return self.clip.encode_image(images)


def retrieval(
    network: Clip, corpus: Corpus, texts: ClassTexts, runtime: Runtime
) -> Iterator[tuple[str, float]]:
    """Retrieval over all classes on the validation writers, seen and unseen characters apart.

    Yields nothing if there is no validation writer.
    """
    embeddings = class_embeddings(network, texts, runtime).cpu()
    seen_images = corpus.without_unseen(corpus.validation)
    yield from _scores("", network, seen_images, embeddings, runtime)
    if corpus.unseen:
        unseen = [corpus.characters.index(c) for c in corpus.unseen]
        hidden = corpus.validation.of(corpus.unseen)
        # Among the unseen only, and among all classes, where the seen ones compete with them.
        yield from _scores("unseen_", network, hidden, embeddings[unseen], runtime)
        among_all = corpus.validation.select(np.isin(corpus.validation.labels, unseen))
        yield from _scores("unseen_among_all_", network, among_all, embeddings, runtime)


def _scores(
    prefix: str, network: Clip, packed: PackedImages, text_embeddings: Tensor, runtime: Runtime
) -> Iterator[tuple[str, float]]:
    if not packed:
        return
    labels = torch.from_numpy(packed.labels)
    nearest = torch.full((len(text_embeddings),), -torch.inf)  # best similarity to each text
    best = torch.zeros(len(text_embeddings), dtype=torch.long)  # and the label of its image
    found = []
    # In batches: the similarities of many images to thousands of classes would fill the memory.
    for batch, embedded in batch_outputs(ImageTower(network), packed, runtime):
        similarity = embedded @ text_embeddings.T  # (B, K)
        ranks = similarity.argsort(dim=1, descending=True)
        found.append(ranks[:, :5] == labels[batch, None])
        nearer, image = similarity.max(dim=0)
        best = torch.where(nearer > nearest, labels[batch][image], best)
        nearest = torch.maximum(nearer, nearest)
    top = torch.cat(found).float()
    yield f"{prefix}image_to_text_top1", float(top[:, :1].sum(dim=1).mean())
    yield f"{prefix}image_to_text_top5", float(top.sum(dim=1).mean())
    present = torch.unique(labels)
    yield f"{prefix}text_to_image_top1", float((best[present] == present).float().mean())
