"""Judge generated images by a recogniser that never saw one, and compare them with real ones.

    python training_character_classification/train.py classifier.name=judge
    python training_character_classification/judge.py
    python training_character_classification/judge.py use_gen=[PATH,PATH]

The judge is trained first, for ``evaluation.judge_steps``, on the writers that no generator sees
(validation and test), fonts and simulated writers. If nobody is held out, it is trained without
people, and measures that compare with them are left out. Its accuracy on the training writers, whom
it has never seen, says how far to trust it; it may not be the recogniser that had images drawn
again (``generation.redraw``). Every source of images is measured by ``measures/table.py``; the
training writers' own images are the reference. With the extra ``judge``, a second judge, from
outside this project, reads a sample of each: ``measures/outside_judge.py``.
"""

from handwriting.script import run_script

# isort: split

from pathlib import Path

from handwriting.config import Config
from handwriting.corpus.audit import check_not_redrawn_by
from handwriting.corpus.corpus import open_corpus
from handwriting.images.packed import files_key, pack_manifest
from handwriting.networks.encoders import Classifier
from handwriting.parallel.ranks import main_only
from handwriting.reports.page import number_text, text_table
from handwriting.runs.folder import run_folder
from handwriting.runs.run import Run
from handwriting.runs.runtime import Runtime
from handwriting.runs.weights import build, load_weights
from training_character_classification.arms import JUDGE, generated_manifests, read_generated
from training_character_classification.measures import outside_judge
from training_character_classification.measures.table import Yardstick, available, measured


@main_only
def main(config: Config) -> Path:
    home = run_folder(config) / "classifier" / JUDGE / f"seed_{config.seed}"
    weights = load_weights(home, "classifier", config.size_px)
    corpus = open_corpus(config)
    weights.require_characters(corpus.characters)
    found = sorted((run_folder(config) / "generated").glob("*/manifest.json"))
    paths = generated_manifests(config.use_gen) or found
    manifests = read_generated(config, corpus, paths)
    for manifest in manifests:
        check_not_redrawn_by(weights, manifest)
    inputs = {"judge": weights.path, "corpus": corpus.key,
              "outside_judge": outside_judge.installed(),
              "measures": [m.name for m in available()],
              "generated": [files_key(manifest) for manifest in manifests]}  # fmt: skip
    run = Run(config, "judge", ("seed", "size_px", "data"), inputs)
    if run.is_done:
        return run.folder
    run.begin()
    runtime = Runtime(config.runtime)
    judge = runtime.freeze(build(Classifier, weights))
    yardstick = Yardstick(judge, corpus, runtime)
    if not yardstick.reference:
        run.tell("no validation or test writers: measures that compare with them are left out")

    writers = "training writers (real)" if corpus.is_real else "training writers"
    names = {"writers": writers, "fonts": "font renders", "simulated": "simulated"}
    sources = {names[kind]: images for kind, images in corpus.sources.items()}
    num_seen = len(sources)  # what generators learn from, training writers (if any) first
    for manifest in manifests:
        packed = pack_manifest(manifest, config.size_px, Path(config.cache_dir).absolute())
        folder = manifest.path.parent
        # Another study's generator may have the same name, and a folder may hold several manifests.
        possible = folder.name, str(folder), str(manifest.path)
        name = next(name for name in possible if name not in sources)
        sources[name] = packed.of(corpus.characters)
    results = {}
    for i, (name, images) in enumerate(sources.items()):
        results[name] = measured(yardstick, images, is_seen=i < num_seen)
    columns = results.items()
    rows = [{"measure": m.title} | {name: number_text(found[m.name]) for name, found in columns}
            for m in available()]  # fmt: skip
    print(text_table(rows))
    of_people = results.get(writers, {})
    about = {
        "accuracy": of_people.get("content_accuracy"),
        "style_chance": yardstick.style_chance,
        "outside_judge": outside_judge.installed(),
    }
    return run.finish({"judge": about, "sources": results})


if __name__ == "__main__":
    run_script(main, reads=["use_gen"])
