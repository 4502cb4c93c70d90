"""How fast are simulated writers, and are they enough like people to train a recogniser on?

Times them, then trains a small recogniser on them alone and tests it on real handwriting, if given:

    python -m benchmarks.simulated_writers
    python -m benchmarks.simulated_writers data/omniglot_katakana/manifest.json

Takes about three minutes for 3 seeds on one laptop core; for a quick look, --num-steps 100
--num-seeds 1.
"""

import argparse
import statistics
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from handwriting.characters import classes
from handwriting.images.manifest import read_manifest
from handwriting.images.packed import PackedImages, pack_manifest
from handwriting.sources.simulated_writers import simulate, simulated

SIZE_PX = 32
BATCH_SIZE = 64
NUM_ROUNDS = 5  # of which the median is reported


def make_recogniser(num_classes: int) -> nn.Sequential:
    """A small convolutional recogniser, (B, 1, 32, 32) -> (B, K) logits; 0.3 M weights."""

    def block(inputs: int, outputs: int) -> list[nn.Module]:
        convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]

    return nn.Sequential(
        *block(1, 24),
        nn.MaxPool2d(2),
        *block(24, 48),
        nn.MaxPool2d(2),
        *block(48, 96),
        *block(96, 96),
        nn.MaxPool2d(2),
        *block(96, 160),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(160 * 4, num_classes),
    )


def as_input(images: npt.NDArray[np.uint8]) -> Tensor:
    """(B, H, W) uint8 -> (B, 1, H, W) in [0, 1]."""
    return torch.from_numpy(np.array(images)).unsqueeze(1).float() / 255


def affine(images: Tensor) -> Tensor:
    """Rotate, shear, scale and shift every image of a batch slightly."""
    eye = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    spread = torch.tensor([[0.1, 0.1, 0.05], [0.1, 0.1, 0.05]])
    matrices = eye + spread * torch.randn(len(images), 2, 3)
    grid = functional.affine_grid(matrices, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def train(packed: PackedImages, num_steps: int, augment: bool, seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    recogniser = make_recogniser(len(packed.characters))
    optimizer = torch.optim.AdamW(recogniser.parameters(), lr=4e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, num_steps, pct_start=0.1)
    for _ in range(num_steps):
        batch = np.sort(rng.integers(len(packed), size=BATCH_SIZE))
        images, labels = as_input(packed.images[batch]), torch.from_numpy(packed.labels[batch])
        if augment:
            images = affine(images)
        loss = functional.cross_entropy(recogniser(images), labels, label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return recogniser.eval()


@torch.no_grad()
def predict(recogniser: nn.Sequential, packed: PackedImages) -> npt.NDArray[np.int64]:
    """The most probable class of every image, (N,)."""
    answers: npt.NDArray[np.int64] = recogniser(as_input(packed.images)).argmax(dim=1).numpy()
    return answers


def speed(size_px: int) -> float:
    """Kanji per second on one core, all by one writer, with KanjiVG's drawings already read."""
    kanji = classes.class_list("kanji")
    seconds = []
    for _ in range(1 + NUM_ROUNDS):
        start = time.process_time()
        for _ in simulate(kanji, 1, 1, 0, size_px).images:
            pass
        seconds.append(time.process_time() - start)
    return len(kanji) / statistics.median(seconds[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path, nargs="?", help="real handwriting")
    parser.add_argument("--num-writers", type=int, default=200)
    parser.add_argument("--num-steps", type=int, default=400)
    parser.add_argument("--num-seeds", type=int, default=3)
    parser.add_argument("--augment", action="store_true", help="small affine changes per batch")
    parser.add_argument("--cache", type=Path, default=Path("cache"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    cv2.setNumThreads(1)

    for size_px in (32, 64):
        print(f"simulated kanji at {size_px} px: {speed(size_px):.0f} images/s")
    if arguments.manifest is None:
        return
    real = pack_manifest(read_manifest(arguments.manifest), SIZE_PX, arguments.cache)
    wrong: Counter[tuple[str, str]] = Counter()
    accuracies = []
    for seed in range(arguments.num_seeds):
        writers = simulated(
            real.characters, arguments.num_writers, 1, seed, SIZE_PX, arguments.cache
        )
        recogniser = train(writers, arguments.num_steps, arguments.augment, seed)
        answers = predict(recogniser, real)
        accuracies.append(float(np.mean(answers == real.labels)))
        print(f"seed {seed}: {accuracies[-1]:.1%} of {len(real)} real images")
        for truth, answer in zip(real.labels, answers, strict=True):
            if truth != answer:
                wrong[real.characters[truth], real.characters[answer]] += 1
    print(f"mean: {np.mean(accuracies):.1%}, trained on simulated writers only")
    for (truth, answer), count in wrong.most_common(12):
        print(f"  {truth} read as {answer}: {count} of {10 * arguments.num_seeds}")


if __name__ == "__main__":
    main()
