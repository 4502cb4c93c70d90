"""Characters drawn in writers' hands: the content of generators that are trained with drawings."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from handwriting.config import Config
from handwriting.corpus.corpus import Corpus
from handwriting.corpus.generation import ImageRequest
from handwriting.errors import report_problems
from handwriting.images.augment import to_float
from handwriting.images.packed import PackedImages
from handwriting.images.thinning import line_drawings
from handwriting.runs.inference import stroke_reader
from handwriting.runs.weights import shipped
from handwriting.sources.hand_drawings import HandDrawings
from handwriting.sources.hands import hands_of
from handwriting.sources.handwritten_strokes import MAX_STROKES, is_readable
from handwriting.storage.keys import file_key


class DrawnInHands:
    """Line drawings in the hands of writers, from hand files or recovered from their images.

    Args:
        styles: images by the writers; those of unseen characters are not read.

    Raises:
        InputError: KanjiVG has no drawing of a character, or no hand can be recovered.
    """

    def __init__(
        self, styles: PackedImages, corpus: Corpus, characters: Sequence[str], config: Config
    ) -> None:
        require_drawings(characters)
        if corpus.hands:
            chosen = styles.present_writers()
            hands = [hand for hand in corpus.hands if hand.name in chosen]
        else:
            written = corpus.without_unseen(styles)
            hands, _ = hands_of(written, *stroke_reader(), Path(config.cache_dir))
        self.writers = [hand.name for hand in hands]
        settings = config.redrawn
        self._drawings = HandDrawings(
            hands, characters, settings.spread, settings.morphing, config.size_px
        )

    def draw(self, wanted: Sequence[ImageRequest], writers: Sequence[str]) -> Tensor:
        """(B, 1, H, W) in [-1, 1], each with a little variation from its own random generator."""
        own = [self.writers.index(name) for name in writers]
        characters, rngs = [one.character for one in wanted], [one.rng for one in wanted]
        images, _ = self._drawings.draw(characters, own, rngs)
        return to_float(torch.from_numpy(line_drawings(images)))


def require_drawings(characters: Sequence[str]) -> None:
    """Check that characters can be drawn in a hand.

    Raises:
        InputError: KanjiVG has no drawing of some, all of them listed.
    """
    report_problems(
        "characters to draw in a hand",
        [
            f"{c} (U+{ord(c):04X}): KanjiVG has no drawing of at most {MAX_STROKES} strokes"
            for c in characters
            if not is_readable(c)
        ],
        "Choose other characters, or set cdiffusion.drawing=false, style_transfer.content=images.",
    )


def inputs_of_drawings(config: Config) -> dict[str, object]:
    """The inputs that images made from such drawings depend on."""
    reader = [file_key(shipped(kind)) for kind in ("stroke_reader", "stroke_judge")]
    return {"redrawn": vars(config.redrawn), "reader": reader}
