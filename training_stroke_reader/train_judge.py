"""Train the stroke reader's judge on simulated writers: it tells which strokes an image shows.

    python training_stroke_reader/train_judge.py
    python training_stroke_reader/train_judge.py stroke_judge.reader=PATH

First the reader that ships, or that of other weights, reads the strokes of practice samples, half
of which are wrong; then the judge learns which images are right and which points of the strokes
were written. No handwriting is needed, and none is seen. Writes ``runs/<name>/stroke_judge/`` with
``stroke_judge.safetensors`` in float16. The weights that ship,
``handwriting/weights/stroke_judge.safetensors``, were made by the first command in 80 minutes on
one CPU core that also did other work.
"""

from handwriting.script import run_script

# isort: split

from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from handwriting.characters.classes import class_list
from handwriting.config import Config
from handwriting.networks.optimizer import one_cycle
from handwriting.networks.stroke_reader import StrokeJudge, StrokeReader
from handwriting.networks.whole_batch import batch_mean
from handwriting.runs.run import Run
from handwriting.runs.runtime import Runtime
from handwriting.runs.weights import (
    KANJIVG,
    build,
    in_bytes,
    load_weights,
    save_weights,
    shipped,
)  # fmt: skip
from handwriting.sources.handwritten_strokes import (
    MAX_STROKES,
    NUM_POINTS,
    SIDE,
    SIZE_PX,
    drawing_of,
)
from handwriting.sources.practice import VERSIONS, practice
from handwriting.storage.arrays import Arrays, cached_arrays
from handwriting.storage.keys import content_key, file_key
from training_stroke_reader.batches import Batch, Batches

WRONG_SHARE = 0.5  # of the images do not show their character, or not it alone
READ_BATCH_SIZE = 64
PART_SIZE = 4096  # samples per cached file
HELD_OUT = 2000  # samples of other writers, on which the judge is evaluated
FALSE_ALARMS = 0.03  # share of right images refused in the evaluation


def read_part(batches: Batches, reader: StrokeReader, rows: range) -> Arrays:
    """The strokes that the reader finds in some samples, as {"found": (N, MAX_STROKES, P, 2)}."""
    found = np.zeros((len(rows), MAX_STROKES, NUM_POINTS, 2), np.float16)
    for first in range(rows.start, rows.stop, READ_BATCH_SIZE):
        few = torch.arange(first, min(first + READ_BATCH_SIZE, rows.stop))
        max_strokes = int(batches.num_strokes[int(few[-1])])
        batch = batches.take(few.to(batches.labels.device), max_strokes)
        with torch.no_grad():
            read = reader(batch.images, batch.drawings, batch.model, batch.mask, SIDE)[0][-1]
        found[few.numpy() - rows.start, :max_strokes] = read.cpu().numpy()
    return {"found": found}


def judged(judge: StrokeJudge, batch: Batch, found: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (B,) that images are right, and (B, S, P) that points were written."""
    found = found[batch.rows, : batch.mask.shape[1]].float()
    drawn = drawing_of(found, batch.mask, batch.images)
    known = (batch.images, batch.drawings, drawn, found, batch.model, batch.mask)
    return judge(*known, SIDE)


def main(config: Config) -> Path:
    settings = config.stroke_judge
    weights = load_weights(
        settings.reader or shipped("stroke_reader"), "stroke_reader",
    )  # fmt: skip
    inputs = {"practice": VERSIONS, "reader": weights.path}
    run = Run(config, "stroke_judge", ("seed", "stroke_judge"), inputs)
    if run.is_done:
        return run.folder
    runtime = Runtime(config.runtime)
    rng = runtime.seed(config.seed)
    characters = class_list(settings.characters)
    reader = build(StrokeReader, weights).eval().requires_grad_(False)
    reader.to(runtime.device)

    def batches(num_samples: int, seed: int) -> tuple[Batches, Tensor]:
        """Practice samples, and the strokes read from them (N, MAX_STROKES, P, 2)."""
        cache = Path(config.cache_dir)
        samples = practice(characters, num_samples, seed, WRONG_SHARE, cache)
        ordered = Batches(samples, characters, runtime.device)
        key = content_key(VERSIONS, characters, num_samples, seed, file_key(weights.path))
        parts = list[npt.NDArray[np.float16]]()
        for first in range(0, num_samples, PART_SIZE):
            rows = range(first, min(first + PART_SIZE, num_samples))
            path = cache / "read_practice" / key / f"{first}.npz"
            parts.append(cached_arrays(path, partial(read_part, ordered, reader, rows))["found"])
        return ordered, torch.from_numpy(np.concatenate(parts)).to(runtime.device)

    # Not the seed itself: the reader was trained on its samples, and reads them better than others.
    practised, found = batches(settings.num_samples, config.seed + 2)
    held_out, held_out_found = batches(min(HELD_OUT, settings.num_samples), config.seed + 3)
    judge = StrokeJudge(NUM_POINTS, MAX_STROKES, settings.channels, settings.dim)
    runtime.to_device(judge)
    optimizer, schedule = one_cycle(judge, settings, weight_decay=1e-3)

    run.begin()
    stateful = {"network": judge, "optimizer": optimizer, "schedule": schedule}
    for step in run.steps(settings.num_steps, stateful, rng):
        batch = practised.draw(step, settings.batch_size, rng)
        with runtime.autocast():
            right, written = judged(judge, batch, found)
        judgement = F.binary_cross_entropy_with_logits(right, batch.is_right.float())
        each = F.binary_cross_entropy_with_logits(
            written, batch.is_written.float(), reduction="none"
        )
        counted = batch.mask[..., None].expand_as(each).float()
        points = batch_mean(each * counted) / batch_mean(counted)
        optimizer.zero_grad()
        (judgement + points).backward()
        gradient = runtime.step(optimizer)
        schedule.step()
        run.log(judgement=judgement, points=points, gradient=gradient)

    facts = {**KANJIVG, "size_px": SIZE_PX, "writers_seen": []}
    path = save_weights(
        run.folder / "stroke_judge.safetensors", "stroke_judge", judge.arguments, facts,
        in_bytes(judge.state_dict()),
    )  # fmt: skip
    return run.finish({**run.last_logged(), **measures(judge, held_out, held_out_found)}, [path])


@torch.no_grad()
def measures(judge: StrokeJudge, batches: Batches, found: Tensor) -> dict[str, float]:
    """The share of wrong images refused at a limit that refuses ``FALSE_ALARMS`` of right ones."""
    judge.eval()
    parts = [(judged(judge, b, found)[0].cpu(), b.is_right.cpu()) for b in batches.parts(100)]
    logits, is_right = (torch.cat(part) for part in zip(*parts, strict=True))
    limit = logits[is_right].quantile(FALSE_ALARMS)
    return {
        "limit": float(limit),
        "wrong_refused": float((logits[~is_right] < limit).float().mean()),
    }


if __name__ == "__main__":
    run_script(main, reads=["stroke_judge"])
