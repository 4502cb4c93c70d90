"""Train a character recogniser: the baseline, a control, or with generated images.

    python training_character_classification/train.py                          # real images only
    python training_character_classification/train.py use_gen=PATH             # and generated ones
    python training_character_classification/train.py aug=false classifier.use_fonts=true

Every arm takes the same number of steps on batches of the same size; ``gen_ratio`` of a batch comes
from what is not real (generated images, font renders, simulated helpers, in equal parts). Writes
``runs/<name>/classifier/<arm>/seed_<seed>/classifier.pt``.
"""

from pathlib import Path

import torch
import torch.nn.functional as F

from handwriting.augment import Classical, to_float
from handwriting.bank import ImageBank
from handwriting.config import Config, run_script
from handwriting.corpus import open_corpus
from handwriting.evaluate import predict
from handwriting.networks import Classifier
from handwriting.optimize import one_cycle
from handwriting.packed import files_key
from handwriting.run import Run, save_weights
from handwriting.runtime import Runtime
from training_character_classification.arms import (
    arm_name,
    batch_shares,
    read_generated,
    training_sources,
)


def main(config: Config) -> Path:
    settings = config.classifier
    corpus = open_corpus(config)
    manifests = read_generated(config, corpus)
    sections = ("seed", "size_px", "data", "fonts", "aug", "gen_ratio", "classifier")
    inputs = {"corpus": corpus.key, "generated": [files_key(m) for m in manifests]}
    run = Run(config, f"classifier/{arm_name(config)}/seed_{config.seed}", sections, inputs)
    if run.is_done:
        return run.folder
    run.begin()
    runtime = Runtime(config.runtime)
    generator = runtime.seed(config.seed)

    sources = training_sources(config, corpus, manifests)
    banks = [ImageBank(source, runtime.device) for source in sources]
    shares = batch_shares(settings.batch_size, config.gen_ratio, settings.use_real, len(banks))
    network = Classifier(settings.network, settings.width, config.size_px, len(corpus.characters))
    runtime.to_device(network)
    optimizer, schedule = one_cycle(network, settings, settings.weight_decay)
    augment = Classical()

    stateful = {"network": network, "optimizer": optimizer, "schedule": schedule}
    for _ in run.steps(settings.num_steps, stateful, generator):
        drawn = [bank.draw(share, generator) for bank, share in zip(banks, shares, strict=True)]
        images = torch.cat([bank.take(i) for bank, i in zip(banks, drawn, strict=True)])
        labels = torch.cat([bank.labels[i] for bank, i in zip(banks, drawn, strict=True)])
        inputs_ = augment(images, generator) if config.aug else to_float(images)
        with runtime.autocast():
            loss = F.cross_entropy(
                network(inputs_), labels, label_smoothing=settings.label_smoothing
            )
        optimizer.zero_grad()
        runtime.backward(loss)
        optimizer.step()
        schedule.step()
        run.log(loss=loss)

    predicted = predict(network, corpus.validation, runtime)
    top1 = float((predicted == corpus.validation.labels).mean())
    facts = {
        "characters": corpus.characters,
        "arm": arm_name(config),
        "seed": config.seed,
        "writers_seen": sorted({name for source in sources for name in source.present_writers()}),
    }
    weights = save_weights(
        run.folder / "classifier.pt", "classifier", network.arguments, facts, network.state_dict()
    )
    print(f"  accuracy on validation writers {top1:.3f}")
    return run.finish({"validation_top1": top1}, [weights])


if __name__ == "__main__":
    run_script(main)
