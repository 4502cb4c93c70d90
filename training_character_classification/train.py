"""Train a character recogniser: the baseline, a control, or with generated images.

    python training_character_classification/train.py                          # real images only
    python training_character_classification/train.py use_gen=PATH             # and generated ones
    python training_character_classification/train.py aug=false classifier.use_fonts=true
    python training_character_classification/train.py use_gen=PATH recipe.keep=top

Every arm takes the same number of steps on batches of the same size; ``gen_ratio`` of a batch comes
from what is not real (generated images, font renders, simulated, in equal parts). How
generated images are used is the ``recipe``: which of them, when, through which norms, of which
characters the most. Writes ``runs/<name>/classifier/<arm>/seed_<seed>/classifier.pt``.
"""

from pathlib import Path

import torch
import torch.nn.functional as F

from handwriting.config import Config
from handwriting.corpus.audit import writers_seen
from handwriting.corpus.bank import ImageBank
from handwriting.corpus.corpus import open_corpus
from handwriting.images.augment import Classical, to_float
from handwriting.images.packed import files_key
from handwriting.networks.encoders import Classifier, SeparateNorm
from handwriting.networks.optimizer import one_cycle
from handwriting.parallel.rows import Rows, shard_parts
from handwriting.runs.inference import predict
from handwriting.runs.run import Run
from handwriting.runs.runtime import Runtime
from handwriting.runs.script import run_script
from handwriting.runs.weights import save_weights
from handwriting.storage.keys import file_key
from training_character_classification.arms import (
    arm_name,
    phases,
    read_generated,
    training_sources,
)
from training_character_classification.selection import generated_banks, read_scorers


def main(config: Config) -> Path:
    settings = config.classifier
    corpus = open_corpus(config)
    manifests = read_generated(config, corpus)
    scorers = read_scorers(config, corpus) if manifests else {}
    sections = ("seed", "size_px", "data", "fonts", "aug", "gen_ratio", "classifier", "recipe")
    inputs = {"corpus": corpus.key, "generated": [files_key(m) for m in manifests],
              "scorers": [file_key(weights.path) for weights in scorers.values()]}  # fmt: skip
    run = Run(config, f"classifier/{arm_name(config)}/seed_{config.seed}", sections, inputs)
    if run.is_done:
        return run.folder
    sources = training_sources(config, corpus, manifests)
    num_own = len(sources) - len(manifests)  # the others are generated
    num_first, first, then = phases(config, len(sources), len(manifests))
    runtime = Runtime(config.runtime)
    banks = [ImageBank(source, runtime.device) for source in sources[:num_own]]
    banks += generated_banks(config, corpus, sources[num_own:], scorers, runtime)
    run.begin()

    rng = runtime.seed(config.seed)  # after the scorers: equal first weights for all recipes
    network = Classifier(settings.network, settings.width, config.size_px, len(corpus.characters))
    separate = SeparateNorm(network) if manifests and config.recipe.separate_norm else None
    trained = separate or network
    runtime.to_device(trained)
    optimizer, schedule = one_cycle(trained, settings, settings.weight_decay)
    augment = Classical()

    rows = Rows(rng)
    stateful = {"network": trained, "optimizer": optimizer, "schedule": schedule}
    for step in run.steps(settings.num_steps, stateful, rng):
        shares = first if step <= num_first else then
        drawn = shard_parts(
            [bank.draw(share, rng) for bank, share in zip(banks, shares, strict=True)]
        )
        images = torch.cat([bank.take(i) for bank, i in zip(banks, drawn, strict=True)])
        labels = torch.cat([bank.labels[i] for bank, i in zip(banks, drawn, strict=True)])
        inputs_ = augment(images, rows) if config.aug else to_float(images)
        with runtime.autocast():
            num_generated = sum(map(len, drawn[num_own:]))
            logits = separate(inputs_, num_generated) if separate else network(inputs_)
            loss = F.cross_entropy(logits, labels, label_smoothing=settings.label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        gradient = runtime.step(optimizer)
        schedule.step()
        run.keep(images=inputs_, labels=labels)
        run.log(loss=loss, gradient=gradient)

    predicted = predict(network, corpus.validation, runtime)
    top1 = float((predicted == corpus.validation.labels).mean())
    facts = {
        "characters": corpus.characters,
        "arm": arm_name(config),
        "seed": config.seed,
        "writers_seen": writers_seen(*sources, *scorers.values()),
    }
    weights = save_weights(
        run.folder / "classifier.pt", "classifier", network.arguments, facts, network.state_dict()
    )
    print(f"  accuracy on validation writers {top1:.3f}")
    return run.finish({"validation_top1": top1}, [weights])


if __name__ == "__main__":
    run_script(main)
