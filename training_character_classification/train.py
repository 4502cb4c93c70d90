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
from handwriting.corpus import Corpus, open_corpus
from handwriting.errors import InputError
from handwriting.evaluate import predict
from handwriting.manifest import read_manifest
from handwriting.networks import Classifier
from handwriting.optimize import one_cycle
from handwriting.packed import PackedImages, concatenate, pack_manifest
from handwriting.run import Run, file_key, save_weights
from handwriting.runtime import Runtime


def generated_manifests(use_gen: object) -> list[Path]:
    """The manifests that ``use_gen`` names.

    Raises:
        InputError: neither "" nor a path nor a list of paths.
    """
    if isinstance(use_gen, str):
        return [Path(use_gen)] if use_gen else []
    if isinstance(use_gen, list) and all(isinstance(item, str) for item in use_gen):
        return [Path(item) for item in use_gen]
    raise InputError(f'use_gen={use_gen!r}: expected "", a manifest or [a list, of manifests]')


def arm_name(config: Config) -> str:
    """What an arm sees, such as ``real+fonts+classical``."""
    settings = config.classifier
    if settings.name:
        return settings.name
    parts = ["real"] if settings.use_real else []
    parts += ["fonts"] if settings.use_fonts else []
    parts += ["helpers"] if settings.use_helpers else []
    # A generated manifest is named by its folder: generated/adain_clip/manifest.json.
    parts += [path.absolute().parent.name for path in generated_manifests(config.use_gen)]
    return "+".join(parts + (["classical"] if config.aug else []))


def main(config: Config) -> Path:
    settings = config.classifier
    manifests = generated_manifests(config.use_gen)
    missing = [str(path) for path in manifests if not path.is_file()]
    if missing:
        raise InputError(f"use_gen: no such manifest: {', '.join(missing)}")
    corpus = open_corpus(config)
    sections = ("seed", "size_px", "data", "fonts", "aug", "gen_ratio", "classifier")
    inputs = {"corpus": corpus.key, "generated": [file_key(path) for path in manifests]}
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


def training_sources(config: Config, corpus: Corpus, manifests: list[Path]) -> list[PackedImages]:
    """What an arm trains on, real images first.

    Raises:
        InputError: nothing at all, or helpers where the study has none.
    """
    settings = config.classifier
    sources = []
    if settings.use_real:
        splits = {"train": corpus.train, "validation": corpus.validation, "test": corpus.test}
        unknown = [name for name in settings.splits if name not in splits]
        if unknown or not settings.splits:
            raise InputError(f"classifier.splits={settings.splits}: from train, validation, test")
        sources.append(concatenate([splits[name] for name in settings.splits]))
    if settings.use_fonts:
        sources.append(corpus.fonts)
    if settings.use_helpers:
        if corpus.helpers is None:
            raise InputError("classifier.use_helpers: this study has none (data.helper_writers)")
        sources.append(corpus.helpers)
    for path in manifests:
        manifest = read_manifest(path, corpus.characters)
        packed = pack_manifest(manifest, config.size_px, Path(config.cache_dir).absolute())
        sources.append(packed.of(corpus.characters))
    if not sources:
        raise InputError("nothing to train on: use_real, use_fonts, use_helpers or use_gen")
    return sources


def batch_shares(batch_size: int, ratio: float, first_is_real: bool, num_sources: int) -> list[int]:
    """How many images of a batch each source gives; they sum to ``batch_size``.

    Raises:
        InputError: a ratio outside 0 to 1.
    """
    if not 0 <= ratio <= 1:
        raise InputError(f"gen_ratio={ratio}: expected a share from 0 to 1")
    num_others = num_sources - first_is_real
    others = (round(batch_size * ratio) if first_is_real else batch_size) if num_others else 0
    shares = [others // num_others + (i < others % num_others) for i in range(num_others)]
    return [batch_size - others, *shares] if first_is_real else shares


if __name__ == "__main__":
    run_script(main)
