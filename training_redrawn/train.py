"""Learn hands: recover the strokes of the training writers' images.

    python training_redrawn/train.py
    python training_redrawn/train.py experiment=katakana data=manifest data.manifest=PATH

No network is trained: the stroke reader that ships (``training_stroke_reader/``) does the work.
Writes ``runs/<name>/redrawn/redrawn.safetensors``, the strokes of what each writer wrote; the same
as one file per writer, ``hands/<writer>.safetensors``; and two pictures: a row per writer with
characters written or predicted, and a line of text in each hand.
"""

from handwriting.script import run_script

# isort: split

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from handwriting.config import Config
from handwriting.corpus.audit import writers_seen
from handwriting.corpus.corpus import Corpus, open_corpus
from handwriting.images.canonical import Uint8
from handwriting.images.sheets import sheet
from handwriting.runs.inference import stroke_reader
from handwriting.runs.run import Run
from handwriting.runs.runtime import Runtime
from handwriting.runs.weights import save_weights
from handwriting.sources.hand_drawings import draw
from handwriting.sources.hands import Hand, hands_of, pack, save_each
from handwriting.sources.handwritten_strokes import is_readable
from handwriting.sources.lines import write_line

NUM_SHOWN = 12  # most writers, and most characters, on the sheet
LINE = "春はあけぼの。やうやう白くなりゆく山ぎは"  # Sei Shōnagon, about 1000
LINE_PX = 56


def main(config: Config) -> Path:
    corpus = open_corpus(config)
    reader, reader_keys = stroke_reader()
    inputs = {"corpus": corpus.key, "reader": reader_keys}
    run = Run(config, "redrawn", ("seed", "size_px", "data", "redrawn"), inputs)
    if run.is_done:
        return run.folder
    Runtime(config.runtime)  # sets the number of threads
    run.begin()
    written = corpus.without_unseen(corpus.train)
    terms = config.redrawn.licence, config.redrawn.credit
    hands, refused = hands_of(written, reader, reader_keys, Path(config.cache_dir), *terms)
    drawable = [character for character in corpus.characters if is_readable(character)]
    shown = drawable[:NUM_SHOWN]
    run.sample("hands", sheet([draw(hand, shown, config.size_px) for hand in hands[:NUM_SHOWN]]))
    run.sample("lines", sheet([line[None] for line in lines(hands[:NUM_SHOWN])]))
    path = save_hands(run.folder / "redrawn.safetensors", hands, corpus, drawable, config.size_px)
    metrics = {"num_hands": len(hands), "num_images": len(written), "refused": refused}
    return run.finish(metrics, [path, *save_each(run.folder / "hands", hands)])


def lines(hands: Sequence[Hand]) -> list[Uint8]:
    """``LINE`` in each hand, (LINE_PX, W), padded to the same width."""
    written = [write_line(hand, LINE, LINE_PX) for hand in hands]
    width = max(line.shape[1] for line in written)
    return [np.pad(line, ((0, 0), (0, width - line.shape[1]))) for line in written]


def save_hands(
    path: Path, hands: list[Hand], corpus: Corpus, drawable: list[str], size_px: int
) -> Path:
    packed, arrays = pack(hands)
    facts = {
        "characters": corpus.characters, "drawable": drawable, "size_px": size_px,
        "writers_seen": writers_seen(corpus.train),
        "hands": packed,
    }  # fmt: skip
    state = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return save_weights(path, "redrawn", {}, facts, state)


if __name__ == "__main__":
    run_script(main, reads=["redrawn"])
