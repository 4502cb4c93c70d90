"""The outside judge: PP-OCRv6 small, which saw none of this project's data.

C. Cui et al., PaddleOCR 3.0 Technical Report, 2025, describes its predecessor. The weights (Baidu,
Apache-2.0) are in the wheel of ``rapidocr``, of which nothing is imported. ``onnxruntime`` runs
them on one thread, about 120 images a second. Both packages are the optional extra ``judge``.

It reads lines of text in 18,708 characters. Here it reads a single character, and answers with the
likeliest of a given list. Among the 2,965 kanji of JIS level 1 it reads .974 of one person's 2,967
images (.996 of the kanji that are taught at school or used in the evaluation; it mostly misreads
rare ones) and .99 of KanjiVG's drawings. It reads only .83 of ten people's real katakana and .85 of
hiragana, for which it is no more than a second opinion. Of kanji that lack one stroke it reads .84,
of those that lack two .58.
"""

import importlib.util
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from handwriting.errors import InputError
from handwriting.images.canonical import Uint8, margin_px
from handwriting.images.packed import Int64, LazyImages
from training_character_classification.measures.distances import appearance

NAME = "PP-OCRv6 small"
HEIGHT_PX = 48  # of a line of text
MARGIN = 0.1  # around the ink, as a share of its longer side
THIN = 0.1  # pen width, as a share of the ink's longer side, below which strokes are widened
BATCH_SIZE = 32


def installed() -> str | None:
    """The judge's name and version; None if the extra is not installed."""
    if importlib.util.find_spec("onnxruntime") is None or _weights() is None:
        return None
    return f"{NAME} (rapidocr {version('rapidocr')})"


def _weights() -> Path | None:
    found = importlib.util.find_spec("rapidocr")  # found, not imported
    if found is None or not found.submodule_search_locations:
        return None
    path = Path(found.submodule_search_locations[0]) / "models" / "PP-OCRv6_rec_small.onnx"
    return path if path.is_file() else None


class OutsideJudge:
    """Reads canonical images as characters of a list.

    Args:
        characters: K, from which its answers are taken.

    Attributes:
        knows: (K,) False for characters that it never answers with: JIS level 1 has fourteen.

    Raises:
        InputError: the extra is not installed.
    """

    def __init__(self, characters: Sequence[str]) -> None:
        path = _weights()
        if path is None or installed() is None:
            raise InputError(
                f"{NAME} is not installed: pip install 'handwriting-augmentation[judge]', or "
                "pip install '.[judge]' in a checkout"
            )
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        listed = self._session.get_modelmeta().custom_metadata_map["character"].split("\n")
        numbers = {character: i for i, character in enumerate(listed, 1)}  # 0 is CTC's blank
        classes = [numbers.get(character, -1) for character in characters]
        self.knows, self._classes = np.array(classes) >= 0, classes

    def predict(self, images: Uint8 | LazyImages) -> Int64:
        """The likeliest character of each image, (N,) indices into the list.

        Args:
            images: (N, H, H) uint8, canonical.
        """
        found = [scores.argmax(dim=1) for scores in self.scores(images)]
        return torch.cat([torch.zeros(0, dtype=torch.long), *found]).numpy()

    def read_as_intended(self, images: Uint8 | LazyImages, labels: Int64) -> float | None:
        """The share of images read as their labels, among those of characters that it knows.

        Args:
            images: (N, H, H) uint8, canonical.
            labels: (N,) indices into the list.

        Returns:
            The share; None without such images.
        """
        chosen = np.flatnonzero(self.knows[labels])
        if not len(chosen):
            return None
        return float((self.predict(images[chosen]) == labels[chosen]).mean())

    def scores(self, images: Uint8 | LazyImages) -> Iterator[Tensor]:
        """The highest probability of each character along the line, 0 for unknown ones.

        Args:
            images: (N, H, H) uint8, canonical.

        Returns:
            (B, K) for each batch in turn.
        """
        for start in range(0, len(images), BATCH_SIZE):
            batch = lines(images[start : start + BATCH_SIZE]).numpy()
            frames = self._session.run(None, {"x": batch})[0]  # (B, T, classes)
            yield torch.from_numpy(np.where(self.knows, frames.max(axis=1)[:, self._classes], 0))


def lines(images: Uint8, thin: float = THIN) -> Tensor:
    """Canonical images as lines of text: each image, followed by as much paper.

    Thin strokes are widened first: of 533 kanji that one person wrote with a pen of .034 of their
    side, .968 are then read, instead of .950; for a pen of .14 and more, widening does harm.

    Args:
        images: (B, H, H) uint8, ink bright.
        thin: width, as a share of the ink's longer side, below which strokes are widened.

    Returns:
        (B, 3, HEIGHT_PX, 2 HEIGHT_PX) in [-1, 1], ink dark.
    """
    inner_px = images.shape[-1] - 2 * margin_px(images.shape[-1])
    border = round(inner_px * (1 + 2 * MARGIN)) - images.shape[-1]
    ink = torch.from_numpy(images).float()[:, None] / 255
    ink = F.pad(ink, (border // 2, border - border // 2) * 2)
    size = (2 * HEIGHT_PX, 2 * HEIGHT_PX)
    ink = F.interpolate(ink, size, mode="bilinear", antialias=True, align_corners=False)
    is_thin = torch.from_numpy(appearance(images)[:, 0] < thin * inner_px)
    ink = torch.where(is_thin[:, None, None, None], F.max_pool2d(ink, 3, 1, 1), ink)
    paper = 1 - 2 * F.avg_pool2d(ink, 2)
    return F.pad(paper, (0, HEIGHT_PX), value=1).expand(-1, 3, -1, -1)
