"""Train the stroke reader on simulated writers: where the strokes of a character lie in its image.

    python training_stroke_reader/train.py
    python training_stroke_reader/train.py experiment=smoke

No handwriting is needed, and none is seen. Writes ``runs/<name>/stroke_reader/`` with
``stroke_reader.safetensors`` in float16 and pictures: images over the strokes read out of them. The
weights that ship, ``handwriting/weights/stroke_reader.safetensors``, were made by the first command
in 80 minutes on two CPU cores beside other work.
"""

from handwriting.script import run_script

# isort: split

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from handwriting.characters.classes import class_list
from handwriting.config import Config
from handwriting.images.canonical import Uint8
from handwriting.images.sheets import sheet
from handwriting.networks.optimizer import one_cycle
from handwriting.networks.stroke_reader import StrokeReader
from handwriting.networks.whole_batch import batch_mean
from handwriting.rng import Rng
from handwriting.runs.run import Run
from handwriting.runs.runtime import Runtime
from handwriting.runs.weights import save_weights
from handwriting.sources.handwritten_strokes import (
    MAX_STROKES,
    NUM_POINTS,
    SIDE,
    SIZE_PX,
    drawing_of,
    model_of,
    padded,
)
from handwriting.sources.practice import VERSIONS, Practice, practice

ALIKE = 16  # a batch is taken from so small a part of the samples, ordered by number of strokes
EARLIER = 0.4  # weight of each iteration's error beside the last one's
JUDGEMENT = 0.02  # weight of the cross-entropy of what is right
EDGE = 0.006  # of the ink's side: from there on an error counts by its size, not by its square
HELD_OUT = 1000  # samples of other writers, on which the reader is measured


class Batch(NamedTuple):
    """B characters: their images and models, and where they were written."""

    images: Tensor  # (B, 1, SIZE_PX, SIZE_PX) in [0, 1]
    drawings: Tensor  # likewise, of the models
    model: Tensor  # (B, S, P, 2)
    mask: Tensor  # (B, S)
    strokes: Tensor  # (B, S, P, 2)
    is_right: Tensor  # (B,) whether the image shows the character


# Strokes after each iteration, (B, S, P, 2), and logits (B,) that the images are right.
Read = Callable[[Batch], tuple[list[Tensor], Tensor]]


class Batches:
    """Batches of practice whose characters have about equally many strokes."""

    def __init__(self, samples: Practice, characters: Sequence[str], device: torch.device) -> None:
        order = np.argsort(samples.num_strokes, kind="stable")
        self.num_strokes = samples.num_strokes[order]  # on the host, for the shape of a batch
        models = [model_of(character) for character in characters]

        def on_device(array: npt.NDArray[Any]) -> Tensor:
            return torch.from_numpy(array).to(device)

        self.images = on_device(samples.images[order])
        self.strokes = on_device(samples.strokes[order])
        self.labels = on_device(samples.labels[order])
        self.is_right = on_device(samples.is_right[order])
        self.drawings = on_device(np.stack([model.image for model in models]))
        self.model, self.mask = (t.to(device) for t in padded([model.strokes for model in models]))

    def take(self, rows: Tensor, most: int) -> Batch:
        """Samples by their place in the order (B,), of at most so many strokes."""
        labels = self.labels[rows]
        return Batch(
            self.images[rows, None].float() / 255,
            self.drawings[labels, None].float() / 255,
            self.model[labels, :most],
            self.mask[labels, :most],
            self.strokes[rows, :most].float(),
            self.is_right[rows],
        )

    def draw(self, step: int, batch_size: int, rng: Rng) -> Batch:
        """A batch from the part of the order that is this step's turn."""
        width = max(1, len(self.num_strokes) // ALIKE)
        # Parts follow one another by the golden ratio, which covers all of them evenly.
        first = int(step * 0.618034 % 1 * (len(self.num_strokes) - width + 1))
        rows = first + rng.randint(width, rng.num_rows(batch_size))
        return self.take(rows, int(self.num_strokes[first + width - 1]))

    def parts(self, size: int) -> Iterator[Batch]:
        """All samples, in batches."""
        for first in range(0, len(self.num_strokes), size):
            rows = torch.arange(first, min(first + size, len(self.num_strokes)))
            yield self.take(rows.to(self.labels.device), int(self.num_strokes[int(rows[-1])]))


def error(strokes: Tensor, batch: Batch) -> Tensor:
    """How far the points of right images are from where they were written, smooth at zero, ()."""
    squared = (strokes - batch.strokes).square().sum(dim=-1)
    distances = (squared + EDGE**2).sqrt().mean(dim=-1)
    counted = batch.mask & batch.is_right[:, None]
    return batch_mean(distances * counted) / batch_mean(counted.float()).clamp(min=1e-6)


def main(config: Config) -> Path:
    settings = config.stroke_reader
    run = Run(config, "stroke_reader", ("seed", "stroke_reader"), {"practice": VERSIONS})
    if run.is_done:
        return run.folder
    runtime = Runtime(config.runtime)
    rng = runtime.seed(config.seed)
    characters = class_list(settings.characters)

    def batches(num_samples: int, seed: int) -> Batches:
        samples = practice(characters, num_samples, seed, Path(config.cache_dir))
        return Batches(samples, characters, runtime.device)

    practised = batches(settings.num_samples, config.seed)
    held_out = batches(min(HELD_OUT, settings.num_samples), config.seed + 1)
    reader = StrokeReader(
        NUM_POINTS, MAX_STROKES, settings.channels, settings.dim, settings.num_iterations
    )
    runtime.to_device(reader)
    optimizer, schedule = one_cycle(reader, settings, weight_decay=1e-3)

    def read(batch: Batch) -> tuple[list[Tensor], Tensor]:
        with runtime.autocast():
            found, known = reader(batch.images, batch.drawings, batch.model, batch.mask, SIDE)
            drawn = drawing_of(found[-1].detach(), batch.mask, batch.images)
            return found, reader.judge(batch.images, batch.drawings, drawn, known, batch.mask)

    run.begin()
    stateful = {"network": reader, "optimizer": optimizer, "schedule": schedule}
    for step in run.steps(settings.num_steps, stateful, rng):
        batch = practised.draw(step, settings.batch_size, rng)
        found, logits = read(batch)
        *earlier, last = (error(strokes, batch) for strokes in found)
        judgement = F.binary_cross_entropy_with_logits(logits, batch.is_right.float())
        optimizer.zero_grad()
        (last + EARLIER * sum(earlier) + JUDGEMENT * judgement).backward()
        gradient = runtime.step(optimizer)
        schedule.step()
        run.log(error=last, judgement=judgement, gradient=gradient)
        if step % settings.sample_every == 0 or step == settings.num_steps:
            with torch.no_grad():
                run.sample(f"step_{step:06d}", samples(held_out, read, settings.num_shown))

    facts = {
        "licence": "CC BY-SA 3.0", "credit": "learnt from drawings of KanjiVG (c) Ulrich Apel",
        "size_px": SIZE_PX, "writers_seen": [],
    }  # fmt: skip
    half = {name: values.half() for name, values in reader.state_dict().items()}
    path = save_weights(
        run.folder / "stroke_reader.safetensors", "stroke_reader", reader.arguments, facts, half
    )
    return run.finish({**run.last_logged(), **measures(held_out, read)}, [path])


@torch.no_grad()
def measures(batches: Batches, read: Read) -> dict[str, float]:
    """How far a sample's points are from the truth, in units of the ink; how images are judged."""
    distances, rights, logits = list[Tensor](), list[Tensor](), list[Tensor]()
    for batch in batches.parts(100):
        found, judged = read(batch)
        apart = (found[-1] - batch.strokes).norm(dim=-1).mean(dim=-1)
        apart = (apart * batch.mask).sum(dim=1) / batch.mask.sum(dim=1)
        distances.append(apart[batch.is_right].float().cpu())
        rights.append(batch.is_right.cpu())
        logits.append(judged.cpu())
    median, worst = torch.cat(distances).quantile(torch.tensor([0.5, 0.9])).tolist()
    accepted, is_right = torch.cat(logits) > 0, torch.cat(rights)
    return {
        "distance_median": median, "distance_p90": worst,
        "right_accepted": float(accepted[is_right].float().mean()),
        "wrong_refused": float((~accepted[~is_right]).float().mean()),
    }  # fmt: skip


@torch.no_grad()
def samples(batches: Batches, read: Read, num_shown: int) -> Uint8:
    """A sheet of images, of few strokes to many, over the model and what was read."""
    rows = torch.linspace(0, len(batches.num_strokes) - 1, num_shown).long()
    batch = batches.take(rows.to(batches.labels.device), int(batches.num_strokes[-1]))
    drawn = drawing_of(read(batch)[0][-1], batch.mask, batch.images)
    rows_of_ink = [batch.images, batch.drawings, drawn]
    return sheet([np.asarray((255 * row[:, 0]).byte().cpu()) for row in rows_of_ink])


if __name__ == "__main__":
    run_script(main, reads=["stroke_reader"])
