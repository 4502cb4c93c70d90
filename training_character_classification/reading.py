"""Read characters, with the recogniser that ships or any other that this project trained.

    from training_character_classification.reading import read

    read(["a.png", "b.png"])               # [[("愛", .93), ("受", .02), ...], ...]
    read([scan[:64, 64:128]], characters="hiragana")

What recognisers read in labelled images is also scored here.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from handwriting.characters.classes import class_list
from handwriting.characters.groups import script_of
from handwriting.config import Runtime as RuntimeConfig
from handwriting.errors import InputError
from handwriting.images.canonical import Uint8, canonical
from handwriting.images.packed import Int64, PackedImages, in_parts
from handwriting.images.reading import read_canonical
from handwriting.images.sheets import evenly_chosen
from handwriting.networks.encoders import Classifier
from handwriting.runs.inference import output
from handwriting.runs.runtime import Runtime
from handwriting.runs.weights import Weights, build, load_weights, shipped
from handwriting.storage.stamps import quick_stamp
from training_character_classification.measures.quality import writers_of

NUM_GUESSES = 5


def recogniser_weights(path: Path | str | None) -> Weights:
    """The weights of a recogniser, by file or run folder; None for those that ship."""
    return load_weights(path or shipped("classifier"), "classifier")


class Recogniser:
    """A trained recogniser that reads canonical images as characters of a list.

    Args:
        path: of its weights or its run folder; None for those that ship.
        characters: that may be read, a list by name or a text file; None for all that it knows.
        config: device, precision, threads.

    Attributes:
        characters: (K,) that may be read.
        size_px: side of the images.

    Raises:
        InputError: there are no such weights, or they do not know one of the characters.
    """

    def __init__(
        self, path: Path | str | None = None, characters: str | None = None,
        config: RuntimeConfig | None = None,
    ) -> None:  # fmt: skip
        weights = recogniser_weights(path)
        known: list[str] = weights.facts["characters"]
        self.characters = class_list(characters) if characters else tuple(known)
        unknown = [c for c in self.characters if c not in known]
        if unknown:
            raise InputError(
                f"{weights.path} cannot read {''.join(unknown[:20])}: it knows {len(known):,} "
                f"characters ({''.join(known[:10])}...)"
            )
        place = {character: i for i, character in enumerate(known)}
        self._classes = torch.tensor([place[character] for character in self.characters])
        self.size_px: int = weights.arguments["size_px"]
        self._runtime = Runtime(config or RuntimeConfig())
        self._network = self._runtime.freeze(build(Classifier, weights))

    def read(
        self, images: Sequence[Path | str | npt.NDArray[np.uint8]], number: int = NUM_GUESSES
    ) -> list[list[tuple[str, float]]]:
        """The likeliest characters of each image, see :func:`read`."""
        if len(images) == 0:
            return []
        drawn = np.stack([self._canonical(i, image) for i, image in enumerate(images)])
        found = []
        for logits in self.scores(in_parts(drawn)):
            shares, places = logits.softmax(dim=1).topk(min(number, logits.shape[1]))
            found += [
                [(self.characters[i], share) for i, share in zip(*row, strict=True)]
                for row in zip(places.tolist(), shares.tolist(), strict=True)
            ]
        return found

    def _canonical(self, number: int, image: Path | str | npt.NDArray[Any]) -> Uint8:
        if not isinstance(image, np.ndarray):
            return read_canonical(Path(image), self.size_px)
        if image.ndim != 2 or image.dtype != np.uint8:
            raise InputError(
                f"image {number}: expected grey values (H, W) uint8, found {image.shape} "
                f"{image.dtype}"
            )
        try:
            return canonical(image, self.size_px)
        except InputError as error:
            raise InputError(f"image {number}: {error}") from error

    def scores(self, images: Iterable[Uint8]) -> Iterator[Tensor]:
        """The logits (B, K) of each part (B, H, W) of canonical images."""
        for part in images:
            yield output(self._network, part, self._runtime)[:, self._classes]


def read(
    images: Sequence[Path | str | npt.NDArray[np.uint8]], characters: str | None = None,
    weights: Path | str | None = None, number: int = NUM_GUESSES,
) -> list[list[tuple[str, float]]]:  # fmt: skip
    """The likeliest characters of each image with their probabilities, which sum to at most 1.

    Args:
        images: files, or grey images (H, W) uint8, dark ink on light paper or the reverse.
        characters: that may be read, a list by name or a text file; None for all that it knows.
        weights: of another recogniser than the one that ships.
        number: of characters to return for each image.

    Raises:
        InputError: an image cannot be read or is blank, there are no such weights, or they do not
            know one of the characters.
    """
    path = Path(weights or shipped("classifier")).absolute()
    file = path / "classifier.safetensors" if path.is_dir() else path
    allowed = "".join(class_list(characters)) if characters else None
    return _recogniser(path, allowed, file.is_file() and quick_stamp(file)).read(images, number)


@lru_cache(maxsize=2)
def _recogniser(path: Path, characters: str | None, _: str | bool) -> Recogniser:
    """A recogniser that is kept for further calls until its file changes."""
    return Recogniser(path, characters)


def judged(scores: Iterable[Tensor], images: PackedImages) -> tuple[pd.DataFrame, Int64]:
    """Whether N images are read correctly.

    Args:
        scores: (B, K) of the images, in parts, since with thousands of classes they would fill the
            memory.

    Returns:
        A table, indexed by writer and character: whether an image is read ``right``, whether it is
        if its script is known (``in_script``), and whether its character is among ``NUM_GUESSES``
        guesses (``in_five``). And the first guesses (N,).
    """
    names = [script_of(character) for character in images.characters]
    scripts = torch.tensor([names.index(name) for name in names])
    labels = torch.from_numpy(images.labels)
    guesses, in_script, start = [], [], 0
    for part in scores:
        own = labels[start : start + len(part)]
        start += len(part)
        guesses.append(part.topk(min(NUM_GUESSES, part.shape[1])).indices)
        is_other = scripts != scripts[own][:, None]
        in_script.append(part.masked_fill(is_other, -torch.inf).argmax(dim=1) == own)
    best = torch.cat(guesses)
    is_right = best == labels[:, None]
    columns = {"right": is_right[:, 0], "in_script": torch.cat(in_script),
               "in_five": is_right.any(dim=1)}  # fmt: skip
    shown = np.array(images.characters)[images.labels]
    index = pd.MultiIndex.from_arrays([writers_of(images), shown])
    table = pd.DataFrame({name: found.numpy() for name, found in columns.items()}, index)
    return table, best[:, 0].numpy()


def mistakes_of(guesses: Int64, images: PackedImages, most: int) -> list[tuple[Uint8, str]]:
    """Images that were misread, each with what was written and what was read.

    Args:
        guesses: (N,) the first guesses.
        most: images to return; if there are more, they are chosen evenly over all, and so over
            writers and characters.
    """
    wrong = evenly_chosen(np.flatnonzero(guesses != images.labels), most)
    names = images.characters
    return [(images.images[i], f"{names[images.labels[i]]}→{names[guesses[i]]}") for i in wrong]
