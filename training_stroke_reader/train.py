"""Train the stroke reader on simulated writers: it locates a character's strokes in its image.

    python training_stroke_reader/train.py
    python training_stroke_reader/train.py experiment=smoke

No handwriting is needed, and none is seen. Writes ``runs/<name>/stroke_reader/`` with
``stroke_reader.safetensors`` in float16 and sample sheets: images, models and recovered strokes,
from top to bottom. The weights that ship, ``handwriting/weights/stroke_reader.safetensors``, were
made by the first command in 80 minutes on two CPU cores that also did other work.
"""

from handwriting.script import run_script

# isort: split

from collections.abc import Callable
from pathlib import Path

import numpy as np
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
from handwriting.runs.run import Run
from handwriting.runs.runtime import Runtime
from handwriting.runs.weights import KANJIVG, in_bytes, save_weights
from handwriting.sources.handwritten_strokes import (
    MAX_STROKES,
    NUM_POINTS,
    SIDE,
    SIZE_PX,
    drawing_of,
)
from handwriting.sources.practice import VERSIONS, practice
from training_stroke_reader.batches import Batch, Batches

WRONG_SHARE = 0.3  # of the images do not show their character, or not it alone
EARLIER = 0.4  # weight of each earlier iteration's error, the last one's being 1
JUDGEMENT = 0.02  # weight of the cross-entropy of whether an image is right
EDGE = 0.006  # share of the ink's side: errors count quadratically below it, linearly above
HELD_OUT = 1000  # samples of other writers, on which the reader is evaluated


# Strokes after each iteration, (B, S, P, 2), and logits (B,) that the images are right.
Read = Callable[[Batch], tuple[list[Tensor], Tensor]]


def error(strokes: Tensor, batch: Batch) -> Tensor:
    """Mean distance () of right images' points from where they were written, smooth at zero."""
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
        samples = practice(characters, num_samples, seed, WRONG_SHARE, Path(config.cache_dir))
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

    facts = {**KANJIVG, "size_px": SIZE_PX, "writers_seen": []}
    path = save_weights(
        run.folder / "stroke_reader.safetensors", "stroke_reader", reader.arguments, facts,
        in_bytes(reader.state_dict()),
    )  # fmt: skip
    return run.finish({**run.last_logged(), **measures(held_out, read)}, [path])


@torch.no_grad()
def measures(batches: Batches, read: Read) -> dict[str, float]:
    """Distances of points from the truth in units of the ink's side, and how images are judged."""
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
    """A sheet of images, in order of number of strokes, above their models and what was read."""
    rows = torch.linspace(0, len(batches.num_strokes) - 1, num_shown).long()
    batch = batches.take(rows.to(batches.labels.device), int(batches.num_strokes[-1]))
    drawn = drawing_of(read(batch)[0][-1], batch.mask, batch.images)
    rows_of_ink = [batch.images, batch.drawings, drawn]
    return sheet([np.asarray((255 * row[:, 0]).byte().cpu()) for row in rows_of_ink])


if __name__ == "__main__":
    run_script(main, reads=["stroke_reader"])
