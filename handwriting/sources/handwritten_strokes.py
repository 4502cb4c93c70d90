"""Recovers the strokes of handwritten characters from their images.

Which character an image shows is given, and so is KanjiVG's drawing of it. A network trained on
simulated writers locates these strokes in the image (``networks/stroke_reader.py``), a few steps of
gradient descent through a soft drawing move them onto the ink (``stroke_fitting.py``), and a score
says whether they explain the image. Images that they do not are refused: those of another
character, with a stroke too many or too few, or with a blot.

Strokes have ``NUM_POINTS`` points at approximately equal arc length, in units of the ink's longer
side from the centre of its box, x to the right and y down.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from handwriting.characters import kanjivg
from handwriting.images.canonical import Uint8, canonical_drawn, margin_px
from handwriting.images.packed import PackedImages
from handwriting.networks.stroke_reader import StrokeJudge, StrokeReader
from handwriting.parallel.progress import progress
from handwriting.sources import soft_raster
from handwriting.sources.stroke_fitting import fit, start_radii
from handwriting.sources.strokes import (
    Int64,
    draw_canonical,
    draw_page,
    evenly,
    in_ink_units,
    read_drawing,
)
from handwriting.storage.arrays import Arrays, cached_arrays
from handwriting.storage.keys import content_key

Float32 = npt.NDArray[np.float32]
VERSION = 4  # increment when the same image gives other strokes, to invalidate cached ones
NUM_POINTS = 11
MAX_STROKES = 30  # of a character
SIZE_PX = 64  # of the images that are read
MODEL_RADIUS = 0.02  # em, of the pen that draws the model for the network
MIN_SCORE = 0.5
# Half of the practice images are wrong, but only one in 300 of a person's: the prior odds that an
# image is right. The mouse-drawn katakana of ten people looked wrong more often than that; with
# their own odds, 3 % of these images are refused.
LOG_ODDS, KANA_LOG_ODDS = math.log(299), 9.3
CHUNK_SIZE = 128  # images per cached file, half a minute of work for dense kanji
BATCH_SIZE = 32  # images fitted together, few enough for the processor's cache
SIDE = 1 - 2 * margin_px(SIZE_PX) / SIZE_PX  # share of the image's side that the ink spans


class Reader(NamedTuple):
    """The networks that read strokes, in evaluation mode."""

    strokes: StrokeReader
    judge: StrokeJudge


class Model(NamedTuple):
    """A character as KanjiVG draws it.

    Attributes:
        strokes: (S, P, 2).
        image: (SIZE_PX, SIZE_PX).
        log_odds: prior log odds that an image labelled with it is right.
    """

    strokes: Float32
    image: Uint8
    log_odds: float


@cache
def model_of(character: str) -> Model:
    """KanjiVG's drawing of a character.

    Raises:
        InputError: KanjiVG has none.
    """
    strokes = read_drawing(character).strokes
    radii = np.full(strokes.shape[:2], MODEL_RADIUS)
    (image,) = draw_canonical([(strokes, radii)], SIZE_PX)
    points, _ = in_ink_units(evenly(strokes, NUM_POINTS), radii[:, :NUM_POINTS])
    log_odds = KANA_LOG_ODDS if character < "\u3100" else LOG_ODDS
    return Model(points.astype(np.float32), image, log_odds)


@cache
def is_readable(character: str) -> bool:
    """Whether KanjiVG has a drawing of a character, with at most ``MAX_STROKES`` strokes."""
    return kanjivg.has_drawing(character) and len(model_of(character).strokes) <= MAX_STROKES


@dataclass(frozen=True)
class HandwrittenStrokes:
    """The strokes read from N images.

    Attributes:
        strokes: (N, S, P, 2), zeros after an image's last stroke.
        num_strokes: (N,), 0 if the character cannot be read.
        radii: (N,) of the pens, in units of the ink's longer side.
        scores: (N,) in [0, 1]; images below ``MIN_SCORE`` are refused.
    """

    strokes: Float32
    num_strokes: Int64
    radii: Float32
    scores: Float32

    def of(self, row: int) -> Float32:
        """The strokes of one image, (S, P, 2)."""
        return self.strokes[row, : self.num_strokes[row]]

    def select(self, rows: Int64 | list[int]) -> "HandwrittenStrokes":
        """The strokes read from some of the images."""
        return HandwrittenStrokes(
            self.strokes[rows], self.num_strokes[rows], self.radii[rows], self.scores[rows]
        )

    @property
    def accepted(self) -> npt.NDArray[np.bool_]:
        return self.scores >= MIN_SCORE


def read_strokes(
    packed: PackedImages, reader: Reader, reader_keys: Sequence[str], cache_dir: Path
) -> HandwrittenStrokes:
    """Read the strokes from images, in chunks that are cached by content.

    Args:
        packed: N images of known characters; those not :func:`is_readable` are refused.
        reader_keys: of the reader's weights, for the cache.
    """
    counts = np.array(
        [len(model_of(c).strokes) if is_readable(c) else 0 for c in packed.characters]
    )
    found = empty(counts[packed.labels])
    # Sorted, so that images with similar numbers of strokes are fitted together.
    order = np.argsort(found.num_strokes, kind="stable")
    order = order[found.num_strokes[order] > 0]
    starts = range(0, len(order), CHUNK_SIZE)
    for first in progress(starts, len(starts), "reading strokes"):
        rows = order[first : first + CHUNK_SIZE]
        images = packed.images[rows]
        characters = [packed.characters[label] for label in packed.labels[rows]]
        key = content_key(VERSION, reader_keys, characters, sha256(images.tobytes()).hexdigest())
        path = cache_dir / "handwritten_strokes" / f"{key}.npz"
        arrays = cached_arrays(path, partial(_read_chunk, images, characters, reader))
        found.strokes[rows, : arrays["strokes"].shape[1]] = arrays["strokes"]
        found.radii[rows], found.scores[rows] = arrays["radii"], arrays["scores"]
    return found


def empty(num_strokes: Int64) -> HandwrittenStrokes:
    shape = (len(num_strokes), int(num_strokes.max(initial=1)), NUM_POINTS, 2)
    radii, scores = np.zeros((2, len(num_strokes)), np.float32)
    return HandwrittenStrokes(np.zeros(shape, np.float32), num_strokes, radii, scores)


def _read_chunk(images: Uint8, characters: Sequence[str], reader: Reader) -> Arrays:
    models = [model_of(character) for character in characters]
    found = empty(np.array([len(model.strokes) for model in models]))
    for first in range(0, len(images), BATCH_SIZE):
        rows = slice(first, first + BATCH_SIZE)
        batch = np.stack([canonical_drawn(image, SIZE_PX) for image in images[rows]])
        strokes, radii, scores = _read_batch(batch, models[rows], reader)
        found.strokes[rows, : strokes.shape[1]] = strokes
        found.radii[rows], found.scores[rows] = radii, scores
    return {"strokes": found.strokes, "radii": found.radii, "scores": found.scores}


def _read_batch(
    images: Uint8, models: Sequence[Model], reader: Reader
) -> tuple[Float32, Float32, Float32]:
    """Strokes, pen radii and scores of images (B, SIZE_PX, SIZE_PX)."""
    model, mask = padded([model.strokes for model in models])
    ink = torch.from_numpy(images).float() / 255
    drawings = torch.from_numpy(np.stack([model.image for model in models])).float() / 255
    before = torch.tensor([model.log_odds for model in models])
    seen = (ink[:, None], drawings[:, None])
    with torch.no_grad():
        (*_, found), points = reader.strokes(*seen, model, mask, SIDE)
        drawn = drawing_of(found, mask, seen[0])
        first = reader.strokes.judge(*seen, drawn, points, mask)
        second, _ = reader.judge(*seen, drawn, found, model, mask, SIDE)
    strokes, radii = fit(ink, found, mask)
    strokes = strokes * mask[..., None, None]
    centres, _ = soft_raster.boxes(ink)
    covered = soft_raster.iou(soft_raster.ink(strokes, mask, radii, SIZE_PX, centres), ink > 0.5)
    return (
        strokes.numpy(),
        radii.numpy(),
        torch.minimum((first + second + before).sigmoid(), covered).numpy(),
    )


def drawing_of(strokes: Tensor, mask: Tensor, images: Tensor) -> Tensor:
    """Strokes drawn by a pen as wide as in images (B, 1, SIZE_PX, SIZE_PX), in the same shape.

    Without gradients, by filling outlines, which takes a hundredth of a distance field's time.
    """
    unit_px = SIDE * SIZE_PX
    radii_px = unit_px * start_radii(images[:, 0], strokes, mask).cpu().numpy()
    lines_px = unit_px * strokes.double().cpu().numpy() + SIZE_PX / 2
    pages = []
    for line, own, radius in zip(lines_px, mask.cpu().numpy(), radii_px, strict=True):
        radii = np.full((own.sum(), NUM_POINTS), radius, np.float64)
        pages.append(draw_page(line[own], radii, SIZE_PX, SIZE_PX))
    return torch.from_numpy(np.stack(pages))[:, None].to(images) / 255


def padded(strokes: Sequence[Float32]) -> tuple[Tensor, Tensor]:
    """Strokes of B characters, padded to (B, S, P, 2), and a mask (B, S) of the real ones."""
    counts = torch.tensor(list(map(len, strokes)))
    mask = torch.arange(int(counts.max())) < counts[:, None]
    together = torch.zeros(*mask.shape, NUM_POINTS, 2)
    together[mask] = torch.from_numpy(np.concatenate(strokes))
    return together, mask
