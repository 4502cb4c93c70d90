"""Judge generated images by a recogniser that never saw one, and tell them from real ones.

    python training_character_classification/train.py classifier.name=judge \
        classifier.splits=[validation,test] classifier.use_fonts=true
    python training_character_classification/judge.py
    python training_character_classification/judge.py use_gen=[PATH,PATH]

The judge is trained first, on the writers that no generator sees (validation and test) and fonts.
For every source of images it reports how many are read as the intended character, and the domain
probe: the area under the ROC curve of a linear probe that tells the source from the judge's real
handwriting; 0.5 is indistinguishable. The training writers' own images are the reference row.
"""

from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from handwriting.config import Config, run_script
from handwriting.corpus import open_corpus
from handwriting.evaluate import outputs, predict
from handwriting.manifest import read_manifest
from handwriting.metrics import Float64
from handwriting.networks import Classifier
from handwriting.packed import PackedImages, concatenate, files_key, pack_manifest
from handwriting.run import Run, load_weights, run_folder
from handwriting.runtime import Runtime
from training_character_classification.arms import JUDGE, generated_manifests

MOST_PROBED = 2000  # images per side of the probe
NUM_FOLDS = 5  # of its cross-validation


def main(config: Config) -> Path:
    weights = load_weights(
        run_folder(config) / "classifier" / JUDGE / f"seed_{config.seed}",
        "classifier",
        "training_character_classification/train.py classifier.name=judge "
        "classifier.splits=[validation,test] classifier.use_fonts=true",
    )
    corpus = open_corpus(config)
    weights.require_characters(corpus.characters)
    found = sorted((run_folder(config) / "generated").glob("*/manifest.json"))
    paths = generated_manifests(config.use_gen) or found
    manifests = [read_manifest(path, corpus.characters) for path in paths]
    inputs = {"judge": weights.path, "corpus": corpus.key,
              "generated": [files_key(manifest) for manifest in manifests]}  # fmt: skip
    run = Run(config, "judge", ("seed", "size_px", "data"), inputs)
    if run.is_done:
        return run.folder
    run.begin()
    sources = {"training writers (real)" if corpus.is_real else "training writers": corpus.train}
    sources["font renders"] = corpus.fonts
    if corpus.helpers is not None:
        sources["simulated helpers"] = corpus.helpers
    for manifest in manifests:
        packed = pack_manifest(manifest, config.size_px, Path(config.cache_dir).absolute())
        name = manifest.path.parent.name
        # Another study's generator may have the same name.
        name = name if name not in sources else str(manifest.path.parent)
        sources[name] = packed.of(corpus.characters)

    runtime = Runtime(config.runtime)
    judge = Classifier(**weights.arguments)
    judge.load_state_dict(weights.state)
    runtime.freeze(judge)
    handwriting = concatenate([corpus.validation, corpus.test])
    reference = features(judge, handwriting, runtime)
    results = {}
    for name, images in sources.items():
        right = predict(judge, images, runtime) == images.labels
        results[name] = {
            "content_accuracy": float(right.mean()),
            "domain_auc": domain_auc(reference, features(judge, images, runtime)),
            "images": len(images),
        }
        print(f"  {name:24} read as intended {results[name]['content_accuracy']:.3f}, "
              f"domain probe AUC {results[name]['domain_auc']:.3f}")  # fmt: skip
    return run.finish({"sources": results})


def features(judge: Classifier, images: PackedImages, runtime: Runtime) -> Float64:
    """The judge's features of some of the images, (N, D)."""
    rng = np.random.default_rng(0)
    chosen = rng.permutation(len(images))[:MOST_PROBED]
    found = outputs(judge.encoder, images.select(chosen), runtime)
    return found.numpy().astype(np.float64)


def domain_auc(real: Float64, other: Float64) -> float:
    """How well a linear probe tells two sets of features apart, cross-validated.

    Args:
        real, other: (N, D) and (M, D); the larger is cut to the smaller's size.

    Returns:
        Area under the ROC curve: 0.5 indistinguishable, 1 apart; NaN for fewer images than folds.
    """
    size = min(len(real), len(other))
    if size < NUM_FOLDS:
        return float("nan")
    values = np.concatenate([real[:size], other[:size]])
    labels = np.repeat([0, 1], size)
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    folds = StratifiedKFold(NUM_FOLDS, shuffle=True, random_state=0)
    likelihood = cross_val_predict(probe, values, labels, cv=folds, method="predict_proba")
    return float(roc_auc_score(labels, likelihood[:, 1]))


if __name__ == "__main__":
    run_script(main)
