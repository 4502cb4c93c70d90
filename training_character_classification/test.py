"""Test several recognisers on the test writers, side by side and per character.

    python training_character_classification/test.py experiment=demo
    python training_character_classification/test.py \
        evaluation.recognisers=[runs/demo/classifier/real/seed_0,PATH] evaluation.manifest=PATH

By default every recogniser of the study is tested, except judges. Writes ``results.json`` (the
table that reports read), ``table.txt``, ``metrics.json``, ``per_character.png`` and
``mistakes.png`` (ten images that each recogniser misreads) to ``runs/<name>/test/``. An accuracy is
the mean over writers. If the extra ``judge`` is installed, the outside judge reads the same images
(``outside.json``). Arms meet the test writers only here. With ``evaluation.manifest`` other images,
such as generated ones, replace theirs, and results go to ``runs/<name>/test_manifest/``.
"""

from handwriting.script import run_script

# isort: split

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from handwriting.config import Config
from handwriting.corpus.audit import FACTS, check_new, check_not_redrawn_by
from handwriting.corpus.corpus import Corpus, check_new_images, open_corpus, require_test_writers
from handwriting.errors import InputError
from handwriting.images.manifest import read_manifest
from handwriting.images.packed import PackedImages, files_key, pack_manifest
from handwriting.networks.encoders import Classifier
from handwriting.parallel.ranks import main_only
from handwriting.reports.page import text_table
from handwriting.reports.scores import score
from handwriting.reports.statistics import accuracy_interval, interval_text
from handwriting.runs.folder import run_folder
from handwriting.runs.inference import batch_outputs
from handwriting.runs.run import Run
from handwriting.runs.runtime import Runtime
from handwriting.runs.weights import Weights, build, load_weights, trained_by
from handwriting.storage.atomic import write_text
from handwriting.storage.keys import file_key
from training_character_classification.arms import JUDGE, Arm
from training_character_classification.measures import outside_judge
from training_character_classification.reading import judged, mistakes_of
from training_character_classification.report.plots import images_with_captions, per_character_bars
from training_character_classification.report.results import (
    COLUMNS,
    recogniser_result,
    results_of,
    write_results,
)

NUM_MISTAKES = 10  # misread images shown for each recogniser
MAX_READ = 5000  # images that the outside judge reads, in less than a minute


@main_only
def main(config: Config) -> Path:
    settings = config.evaluation
    recognisers = find_recognisers(config)
    corpus = open_corpus(config)
    inputs = {"recognisers": [file_key(w.path) for w in recognisers], "corpus": corpus.key,
              "columns": COLUMNS, "outside": outside_judge.installed()}  # fmt: skip
    if settings.manifest:
        manifest = read_manifest(settings.manifest)
        inputs["manifest"] = files_key(manifest)
        for weights in recognisers:
            check_not_redrawn_by(weights, manifest)
    folder = "test_manifest" if settings.manifest else "test"  # reports read the latter
    run = Run(config, folder, ("size_px", "data", "evaluation"), inputs)
    if run.is_done:
        return run.folder
    images = test_images(config, corpus)
    for weights in recognisers:
        weights.require_characters(corpus.characters)
        if images is corpus.test:
            check_new(weights.path, weights.facts["writers_seen"], images.present_writers())
    run.begin()
    runtime = Runtime(config.runtime)

    people = len(corpus.train.present_writers())
    results, metrics, mistakes = [], {}, {}
    for weights in recognisers:
        network = runtime.freeze(build(Classifier, weights))
        logits = (part for _, part in batch_outputs(network, images, runtime))
        read, guesses = judged(logits, images)
        scores = score(images.labels, guesses, corpus.characters, settings.num_confusions)
        arm, seed = Arm.parse(weights.facts["arm"]), weights.facts["seed"]
        if f"{arm}/seed_{seed}" in metrics:  # another study's arm may have the same name
            arm = Arm((str(weights.path),))
        found = recogniser_result(arm, people, seed, read, scores.macro_f1, scores.confusions)
        results.append(found)
        per_writer = read["right"].groupby(level=0, sort=False).mean()
        mistakes[f"{arm}/seed_{seed}"] = mistakes_of(guesses, images, NUM_MISTAKES)
        metrics[f"{arm}/seed_{seed}"] = {
            "accuracy": per_writer.mean(),
            "interval": accuracy_interval(per_writer.to_numpy()),
            "per_writer": per_writer.tolist(),
            "writers": per_writer.index.tolist(),
            **asdict(scores),
        }
    rows = [
        {"recogniser": name, "accuracy": f"{found['accuracy']:.3f}",
         "95 % over writers": interval_text(found["interval"]),
         "macro F1": f"{found['macro_f1']:.3f}"}
        for name, found in metrics.items()
    ]  # fmt: skip
    text = text_table(rows)
    print(text)
    write_text(run.folder / "table.txt", text + "\n")
    write_results(run.folder / "results.json", results)
    write_results(run.folder / "outside.json", read_from_outside(images))
    per_character_bars(results_of(results), run.folder / "per_character.png")
    images_with_captions(mistakes, run.folder / "mistakes.png")
    whose = "the manifest's images" if settings.manifest else "test writers"
    found = {"images": len(images), "of": whose, "recognisers": metrics}
    made = ("results.json", "outside.json", "table.txt", "per_character.png", "mistakes.png")
    return run.finish(found, [run.folder / name for name in made])


def read_from_outside(images: PackedImages) -> list[dict[str, Any]]:
    """The outside judge's result, in a list that is empty if it is not installed.

    It reads at most ``MAX_READ`` random images, and none of a character that it does not know.
    """
    if not outside_judge.installed():
        return []
    judge = outside_judge.OutsideJudge(images.characters)
    known = np.flatnonzero(judge.knows[images.labels])
    chosen = images.select(np.sort(np.random.default_rng(0).permutation(known)[:MAX_READ]))
    read, guesses = judged(judge.scores(chosen.images), chosen)
    scores = score(chosen.labels, guesses, images.characters, NUM_MISTAKES)
    name = Arm((outside_judge.NAME,))
    return [recogniser_result(name, 0, 0, read, scores.macro_f1, scores.confusions)]


def find_recognisers(config: Config) -> list[Weights]:
    """The recognisers of the list, or all of the study's.

    Raises:
        InputError: there are none, or one of them cannot be read.
    """
    paths = [Path(path) for path in dict.fromkeys(config.evaluation.recognisers)]
    home = run_folder(config) / "classifier"
    if not paths:
        found = sorted(home.rglob("seed_*/classifier.safetensors"))
        paths = [path for path in found if path.parents[1] != home / JUDGE]
    if not paths:
        raise InputError(f"no recognisers in {home}: run {trained_by('classifier')} first")
    return [load_weights(path, "classifier", config.size_px) for path in paths]


def test_images(config: Config, corpus: Corpus) -> PackedImages:
    """The test writers' images, or those of the manifest that replaces them.

    Raises:
        InputError: there are no test writers, or the manifest has none of the study's characters,
            or copies of images that the study trains on.
    """
    if not config.evaluation.manifest:
        require_test_writers(corpus)
        return corpus.test
    manifest = read_manifest(config.evaluation.manifest)
    others = "".join(c for c in manifest.characters if c not in corpus.characters)
    if len(others) == len(manifest.characters):
        raise InputError(
            f"{manifest.path}: none of this study's {len(corpus.characters)} characters "
            f"({''.join(corpus.characters[:10])}...), only {others[:10]}..."
        )
    if others:
        print(f"  left out, unknown to the study: {others}", flush=True)
    packed = pack_manifest(manifest, config.size_px, Path(config.cache_dir).absolute())
    images = packed.of(corpus.characters)
    if not manifest.path.with_name(FACTS).is_file():  # generated images may resemble any others
        check_new_images(config, corpus, "evaluation", images, manifest)
    return images


if __name__ == "__main__":
    run_script(main, reads=["evaluation"])
