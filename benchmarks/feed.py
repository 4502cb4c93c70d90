"""How fast images are fed, packed and opened, on one core.

    python benchmarks/feed.py --size 64

Prints pairs a second of the generator's feed (canonical content, style and target, rotated and
placed alike) beside a plain loader that opens, rotates and stacks each pair with Pillow; the time
to render and pack one font of 3,057 classes; the time to open a packed set.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from timing import seconds

from handwriting.characters import class_list
from handwriting.config import compose
from handwriting.corpus import open_corpus
from handwriting.fonts import find_fonts, render_font
from handwriting.images import save_png
from handwriting.packed import PackedImages, open_packed, save_packed
from training_style_transfer.feed import PairFeed

BATCH_SIZE = 256


def plain_pairs(paths: list[Path], size_px: int, rng: np.random.Generator) -> torch.Tensor:
    """A batch as per-sample loaders make it: each image opened, rotated and converted alone."""
    batch = []
    for _ in range(BATCH_SIZE):
        angle = float(rng.uniform(-15, 15))
        pair = []
        for path in rng.choice(np.array(paths, dtype=object), 2):
            image = Image.open(path).convert("L").resize((size_px, size_px))
            image = image.rotate(angle, Image.Resampling.BILINEAR, fillcolor=255)
            pair.append(torch.from_numpy(np.asarray(image).astype(np.float32) / 127.5 - 1))
        batch.append(torch.stack(pair))
    return torch.stack(batch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--size", type=int, default=64, help="pixels per side")
    size_px = parser.parse_args().size
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = compose([f"size_px={size_px}", f"cache_dir={folder}", "data.characters=demo"])
        corpus = open_corpus(config)
        feed = PairFeed(corpus, config.fonts.reference, config.style_transfer, torch.device("cpu"))
        rng = torch.Generator().manual_seed(0)
        rates = {}
        for choice in ("same", "any"):
            config.style_transfer.style_character = choice
            rates[choice] = BATCH_SIZE / seconds(lambda: feed.draw("step_end", BATCH_SIZE, rng), 20)
        paths = []
        for i, image in enumerate(corpus.train.images):
            paths.append(folder / f"{i}.png")
            save_png(paths[-1], image)
        numpy_rng = np.random.default_rng(0)
        plain = BATCH_SIZE / seconds(lambda: plain_pairs(paths, size_px, numpy_rng), 3)
        print(f"{size_px} px, on one core")
        print(f"content and style, the style being the target  {rates['same']:9,.0f} a second")
        print(f"content, style and target                      {rates['any']:9,.0f} a second")
        print(f"plain pairs, sample by sample                  {plain:9,.0f} a second")

        face = find_fonts()[0]
        characters = class_list("all")
        packing = seconds(lambda: render_font(face, characters, size_px), 1)
        print(f"3,057 classes of {face.name}: {packing:.1f} s")
        images = np.zeros((200_000, size_px, size_px), np.uint8)
        zeros = np.zeros(len(images), np.int64)
        save_packed(folder / "large", PackedImages(images, zeros, zeros, ("あ",), ("nobody",)))
        opening = seconds(lambda: open_packed(folder / "large"))
        print(f"opening {len(images):,} packed images: {opening * 1000:.0f} ms")


if __name__ == "__main__":
    main()
