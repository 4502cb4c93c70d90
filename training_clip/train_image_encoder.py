"""Pretrain the image encoder as a classifier of handwriting and font renders.

    python training_clip/train_image_encoder.py experiment=paper runtime=gpu     # GPU
    python training_clip/train_image_encoder.py experiment=demo                  # laptop, 30 s

Half of each batch is handwriting of the training writers, half is font renders. Writes
``runs/<name>/image_encoder/image_encoder.safetensors``; ``aug=false`` turns classical augmentation
off. ``weights=base`` starts from the encoder that ships, whatever the study's characters.
"""

from handwriting.script import run_script

# isort: split

from pathlib import Path

import torch.nn.functional as F

from handwriting.config import Config
from handwriting.corpus.audit import writers_seen
from handwriting.corpus.bank import ImageBank, draw_batch
from handwriting.corpus.corpus import open_corpus
from handwriting.images.augment import Classical, to_float
from handwriting.images.packed import concatenate
from handwriting.networks.encoders import Classifier
from handwriting.networks.optimizer import one_cycle
from handwriting.runs.inference import validation_top1
from handwriting.runs.run import Run
from handwriting.runs.runtime import Runtime
from handwriting.runs.weights import base_weights, build, save_weights


def main(config: Config) -> Path:
    settings = config.image_encoder
    corpus = open_corpus(config)
    sections = ("seed", "size_px", "data", "fonts", "aug", "image_encoder")
    start = [base_weights("image_encoder")] if config.weights else []
    inputs = {"corpus": corpus.key, **{weights.kind: weights.path for weights in start}}
    run = Run(config, "image_encoder", sections, inputs)
    if run.is_done:
        return run.folder
    runtime = Runtime(config.runtime)
    rng = runtime.seed(config.seed)

    handwriting = [images for kind, images in corpus.sources.items() if kind != "fonts"]
    sources = map(corpus.without_unseen, (concatenate(handwriting), corpus.fonts))
    banks = [ImageBank(source, runtime.device) for source in sources]
    num_classes = len(corpus.characters)
    network = Classifier(settings.network, settings.width, config.size_px, num_classes)
    for weights in start:
        network = build(Classifier, weights, size_px=config.size_px, num_classes=num_classes)
    runtime.to_device(network)
    optimizer, schedule = one_cycle(network, settings, weight_decay=0.05)
    augment = Classical()

    run.begin()
    stateful = {"network": network, "optimizer": optimizer, "schedule": schedule}
    for _ in run.steps(settings.num_steps, stateful, rng):
        drawn, labels = draw_batch(banks, [settings.batch_size // 2] * 2, rng)
        images = augment(drawn, rng) if config.aug else to_float(drawn)
        with runtime.autocast():
            loss = F.cross_entropy(network(images), labels, label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        gradient = runtime.step(optimizer)
        schedule.step()
        run.log(loss=loss, gradient=gradient)

    held_out = corpus.without_unseen(corpus.validation)
    metrics = validation_top1(network, held_out, runtime, run.tell)
    seen = writers_seen(*corpus.sources.values(), *start)
    facts = {"characters": corpus.characters, "writers_seen": seen}
    path = save_weights(
        run.folder / "image_encoder.safetensors", "image_encoder", network.arguments, facts,
        network.state_dict(),
    )  # fmt: skip
    return run.finish(metrics, [path])


if __name__ == "__main__":
    run_script(main, reads=["aug", "image_encoder", "weights"])
