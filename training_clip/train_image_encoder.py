"""Pretrain the image encoder as a classifier of handwriting and font renders.

    python training_clip/train_image_encoder.py experiment=paper runtime=gpu     # GPU
    python training_clip/train_image_encoder.py experiment=demo                  # laptop, 30 s

Half of each batch is handwriting of the training writers, half is font renders. Writes
``runs/<name>/image_encoder/image_encoder.safetensors``; ``aug=false`` leaves classical
augmentation out.
"""

from pathlib import Path

import torch
import torch.nn.functional as F

from handwriting.config import Config
from handwriting.corpus.audit import writers_seen
from handwriting.corpus.bank import ImageBank
from handwriting.corpus.corpus import open_corpus
from handwriting.images.augment import Classical, to_float
from handwriting.images.packed import concatenate
from handwriting.networks.encoders import Classifier
from handwriting.networks.optimizer import one_cycle
from handwriting.parallel.rows import Rows, shard_parts
from handwriting.runs.inference import predict
from handwriting.runs.run import Run
from handwriting.runs.runtime import Runtime
from handwriting.runs.weights import save_weights
from handwriting.script import run_script


def main(config: Config) -> Path:
    corpus = open_corpus(config)
    sections = ("seed", "size_px", "data", "fonts", "aug", "image_encoder")
    run = Run(config, "image_encoder", sections, {"corpus": corpus.key})
    if run.is_done:
        return run.folder
    run.begin()
    runtime = Runtime(config.runtime)
    rng = runtime.seed(config.seed)
    settings = config.image_encoder

    handwriting = [images for kind, images in corpus.sources.items() if kind != "fonts"]
    banks = [
        ImageBank(corpus.without_unseen(source), runtime.device)
        for source in (concatenate(handwriting), corpus.fonts)
    ]
    network = Classifier(settings.network, settings.width, config.size_px, len(corpus.characters))
    runtime.to_device(network)
    optimizer, schedule = one_cycle(network, settings, weight_decay=0.05)
    augment = Classical()

    rows = Rows(rng)
    stateful = {"network": network, "optimizer": optimizer, "schedule": schedule}
    for _ in run.steps(settings.num_steps, stateful, rng):
        drawn = shard_parts([bank.draw(settings.batch_size // 2, rng) for bank in banks])
        images = torch.cat([bank.take(i) for bank, i in zip(banks, drawn, strict=True)])
        labels = torch.cat([bank.labels[i] for bank, i in zip(banks, drawn, strict=True)])
        inputs = augment(images, rows) if config.aug else to_float(images)
        with runtime.autocast():
            loss = F.cross_entropy(network(inputs), labels, label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        gradient = runtime.step(optimizer)
        schedule.step()
        run.log(loss=loss, gradient=gradient)

    held_out = corpus.without_unseen(corpus.validation)
    predicted = predict(network, held_out, runtime)
    top1 = float((predicted == held_out.labels).mean())
    facts = {
        "characters": corpus.characters,
        "writers_seen": writers_seen(*corpus.sources.values()),
    }
    weights = save_weights(
        run.folder / "image_encoder.safetensors", "image_encoder", network.arguments, facts,
        network.state_dict(),
    )  # fmt: skip
    print(f"  accuracy on validation writers {top1:.3f}")
    return run.finish({"validation_top1": top1}, [weights])


if __name__ == "__main__":
    run_script(main)
