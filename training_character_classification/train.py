"""Train a character recogniser: the baseline, a control, or one that sees generated images.

    python training_character_classification/train.py                          # real images only
    python training_character_classification/train.py use_gen=PATH             # and generated ones
    python training_character_classification/train.py aug=false classifier.use_fonts=true
    python training_character_classification/train.py use_gen=PATH recipe.by_confusion=true

Every arm takes the same number of steps on batches of the same size; a share ``gen_ratio`` of each
batch is not real (generated images, font renders, simulated writers, in equal parts). With
``recipe.by_confusion`` the generated images are mostly of what the control confuses. Writes
``runs/<name>/classifier/<arm>/seed_<seed>/classifier.safetensors``.
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
from handwriting.images.packed import files_key
from handwriting.networks.encoders import Classifier
from handwriting.networks.optimizer import one_cycle
from handwriting.runs.inference import validation_top1
from handwriting.runs.run import Run
from handwriting.runs.runtime import Runtime
from handwriting.runs.weights import save_weights
from handwriting.storage.keys import file_key
from training_character_classification import arms, selection


def main(config: Config) -> Path:
    corpus = open_corpus(config)
    config = arms.judge_of(config, corpus)
    settings = config.classifier
    manifests = arms.read_generated(config, corpus, arms.generated_manifests(config.use_gen))
    is_weighted = bool(manifests) and config.recipe.by_confusion
    control = selection.read_control(config, corpus) if is_weighted else None
    sections = ("seed", "size_px", "data", "fonts", "aug", "gen_ratio", "classifier", "recipe")
    inputs = {"corpus": corpus.key, "generated": [files_key(m) for m in manifests],
              "control": [file_key(control.path)] if control else []}  # fmt: skip
    run = Run(config, f"classifier/{arms.arm_of(config)}/seed_{config.seed}", sections, inputs)
    if run.is_done:
        return run.folder
    sources = arms.training_sources(config, corpus, manifests)
    shares = arms.batch_shares(
        settings.batch_size, config.gen_ratio, settings.use_real, len(sources)
    )
    runtime = Runtime(config.runtime)
    kana = selection.kana_weights(corpus.characters, settings.kana)
    weights = [kana if settings.kana != 1 else None for _ in sources]
    if control:
        confused = selection.confusion(control, corpus.validation, runtime)
        first = len(sources) - len(manifests)  # generated images come last
        weights[first:] = [kana * selection.class_weights(confused)] * len(manifests)
    banks = [
        ImageBank(source, runtime.device) if own is None
        else selection.ClassBank(source, runtime.device, own)
        for source, own in zip(sources, weights, strict=True)
    ]  # fmt: skip
    run.begin()

    rng = runtime.seed(config.seed)  # after the control ran: the same initial weights either way
    network = Classifier(
        settings.network, settings.width, config.size_px, len(corpus.characters),
        settings.embedding_dim,
    )  # fmt: skip
    runtime.to_device(network)
    optimizer, schedule = one_cycle(network, settings, settings.weight_decay)
    augment = Classical(roughness=settings.roughness)

    stateful = {"network": network, "optimizer": optimizer, "schedule": schedule}
    for _ in run.steps(settings.num_steps, stateful, rng):
        drawn, labels = draw_batch(banks, shares, rng)
        images = augment(drawn, rng) if config.aug else to_float(drawn)
        with runtime.autocast():
            logits = network(images)
            loss = F.cross_entropy(logits, labels, label_smoothing=settings.label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        gradient = runtime.step(optimizer)
        schedule.step()
        run.log(loss=loss, gradient=gradient)

    metrics = validation_top1(network, corpus.validation, runtime, run.tell)
    seen = writers_seen(*sources, *manifests, *([control] if control else []))
    facts = {"characters": corpus.characters, "arm": str(arms.arm_of(config)), "seed": config.seed,
             "writers_seen": seen}  # fmt: skip
    path = save_weights(
        run.folder / "classifier.safetensors", "classifier", network.arguments, facts,
        network.state_dict(),
    )  # fmt: skip
    return run.finish(metrics, [path])


if __name__ == "__main__":
    naming = ["name", "use_real", "use_fonts", "use_simulated"]
    run_script(
        main,
        reads=["aug", "use_gen", "gen_ratio", "classifier", "recipe", "evidence.control"],
        folder_keys=["seed", "aug", "use_gen", *(f"classifier.{key}" for key in naming)],
    )
