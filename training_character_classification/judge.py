"""Judge generated images by a recogniser that never saw one, and measure them beside real ones.

    python training_character_classification/train.py classifier.name=judge \
        classifier.splits=[validation,test] classifier.use_fonts=true
    python training_character_classification/judge.py
    python training_character_classification/judge.py use_gen=[PATH,PATH]

The judge is trained first, on the writers that no generator sees (validation and test) and fonts.
Its accuracy on the training writers, people whom it never met, says how far to trust it. Every
source of images is measured (see ``quality.py``): how many are read as the intended character, how
easily they are told from handwriting, how diverse they are, whether they are in the hand that they
claim, how far they are from what the generators saw, and from the writers that no generator sees
(see ``distances.py``). The training writers' own images are the reference row.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from handwriting.config import Config
from handwriting.corpus.corpus import Corpus, open_corpus
from handwriting.images.manifest import Manifest, read_manifest
from handwriting.images.packed import PackedImages, concatenate, files_key, pack_manifest
from handwriting.networks.encoders import Classifier
from handwriting.parallel.ranks import main_only
from handwriting.reports.statistics import Float64
from handwriting.runs.inference import outputs, predict
from handwriting.runs.run import Run, run_folder
from handwriting.runs.runtime import Runtime
from handwriting.runs.weights import build, load_weights
from handwriting.script import run_script
from training_character_classification.arms import JUDGE, generated_manifests
from training_character_classification.measures.distances import (
    DISTANCES,
    CoarseFeatures,
    appearance_distances,
    feature_distances,
    kernel_distance,
    match_class_counts,
)
from training_character_classification.measures.quality import (
    MAX_CHARACTERS,
    MEASURES,
    StyleFeatures,
    WriterProbe,
    domain_auc,
    nearest_distance,
    ratio,
    sampled,
    spread,
)

MAX_COMPARED = 2000  # images per side of the domain probe and of the distances
Measures = dict[str, float | None]  # by the names of MEASURES, DISTANCES, and the number of images


@main_only
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
    inputs = {"judge": weights.path, "corpus": corpus.key, "measures": [*MEASURES, *DISTANCES],
              "generated": [files_key(manifest) for manifest in manifests]}  # fmt: skip
    run = Run(config, "judge", ("seed", "size_px", "data"), inputs)
    if run.is_done:
        return run.folder
    run.begin()
    runtime = Runtime(config.runtime)
    judge = runtime.freeze(build(Classifier, weights))
    yardstick = Yardstick(judge, corpus, runtime)

    own = own_sources(corpus)
    results = {name: yardstick.measure(images, is_seen=True) for name, images in own.items()}
    for name, manifest in named(manifests, own).items():
        packed = pack_manifest(manifest, config.size_px, Path(config.cache_dir).absolute())
        results[name] = yardstick.measure(packed.of(corpus.characters), is_seen=False)
    print(table(results))
    first = next(iter(results.values()))
    about = {"accuracy": first["content_accuracy"], "style_chance": yardstick.style_chance}
    return run.finish({"judge": about, "sources": results})


def own_sources(corpus: Corpus) -> dict[str, PackedImages]:
    """What generators learn from, the training writers first."""
    writers = "training writers (real)" if corpus.is_real else "training writers"
    names = {"writers": writers, "fonts": "font renders", "simulated": "simulated"}
    return {names[kind]: images for kind, images in corpus.sources.items()}


def named(manifests: list[Manifest], others: dict[str, PackedImages]) -> dict[str, Manifest]:
    """Manifests by the name of their folder, or by all of its path where a name is taken."""
    found: dict[str, Manifest] = {}
    for manifest in manifests:
        name = manifest.path.parent.name
        # Another study's generator may have the same name.
        free = name not in found and name not in others
        found[name if free else str(manifest.path.parent)] = manifest
    return found


class Yardstick:
    """What sources are measured by: people whom no generator saw, and everything that one saw.

    Attributes:
        style_chance: how often a hand is told by chance; None for one training writer.
    """

    def __init__(self, judge: Classifier, corpus: Corpus, runtime: Runtime) -> None:
        self._judge, self._runtime = judge, runtime
        people = concatenate([corpus.validation, corpus.test])
        tested = np.unique(people.labels)
        self._labels = np.random.default_rng(0).permutation(tested)[:MAX_CHARACTERS]
        people = sampled(people, self._labels)
        self._people = self._outputs(judge.encoder, people)
        self._spread = spread(self._people, people.labels, people.writers)
        known = [corpus.without_unseen(part) for part in corpus.sources.values()]
        self._seen = concatenate(
            [part.select(np.isin(part.labels, self._labels)) for part in known]
        )
        self._nearest = nearest_distance(people, self._seen, num_skipped=0)
        self._style = StyleFeatures(judge.encoder)
        own = sampled(corpus.train, self._labels)
        self._hands = WriterProbe(self._outputs(self._style, own), own.labels, hands_of(own))
        num_hands = len(self._hands.names)
        self.style_chance = 1 / num_hands if num_hands > 1 else None
        self._coarse = CoarseFeatures(judge.encoder)
        self._most = MAX_COMPARED // len(self._labels)  # of each character
        reference = sampled(people, self._labels, self._most)
        coarse = self._outputs(self._coarse, reference)
        # Every row is compared with as many as the training writers' is, if those are enough.
        few, _ = match_class_counts(reference.labels, own.labels)
        if len(few) > coarse.shape[1]:
            reference, coarse = reference.select(few), coarse[few]
        # The variance is 1 in all, so that distances by two judges can be compared.
        self._centre, self._scale = coarse.mean(axis=0), np.sqrt(coarse.var(axis=0).sum())
        self._reference, self._features = reference, (coarse - self._centre) / self._scale

    def measure(self, images: PackedImages, is_seen: bool) -> Measures:
        """All measures of a source.

        Args:
            images: of the source.
            is_seen: whether they are themselves among what generators are trained on.
        """
        right = predict(self._judge, images, self._runtime) == images.labels
        some = sampled(images, self._labels)
        features = self._outputs(self._judge.encoder, some)
        diversity = spread(features, some.labels, np.arange(len(some)))
        nearest = nearest_distance(some, self._seen, num_skipped=int(is_seen))
        return {
            "content_accuracy": float(right.mean()),
            "diversity": ratio(diversity, self._spread),
            "style_match": self._style_match(some),
            "domain_auc": domain_auc(self._people[:MAX_COMPARED], features[:MAX_COMPARED]),
            "nearest_distance": ratio(nearest, self._nearest),
            **self._distances(sampled(images, self._labels, self._most)),
            "images": len(images),
        }

    def _distances(self, images: PackedImages) -> Measures:
        """How far images are from the people's; of each character equally many."""
        real, reference = self._features, self._reference
        other = (self._outputs(self._coarse, images) - self._centre) / self._scale
        ours, theirs = match_class_counts(reference.labels, images.labels)
        return {
            "kernel_distance": kernel_distance(real, reference.labels, other, images.labels),
            **feature_distances(real[ours], other[theirs]),
            **appearance_distances(reference.images[ours], images.images[theirs]),
        }

    def _style_match(self, images: PackedImages) -> float | None:
        writers = hands_of(images)
        claimed = images.select(np.isin(writers, self._hands.names))
        if not len(claimed):
            return None
        style = self._outputs(self._style, claimed)
        return self._hands.match(style, claimed.labels, hands_of(claimed))

    def _outputs(self, network: nn.Module, images: PackedImages) -> Float64:
        return outputs(network, images, self._runtime).numpy().astype(np.float64)


def hands_of(images: PackedImages) -> npt.NDArray[Any]:
    """The name of each image's writer, (N,)."""
    return np.array(images.writer_names)[images.writers]


def table(results: dict[str, Measures]) -> str:
    """The measures of every source as text; what the judge reads of the first says its worth."""
    accuracy = next(iter(results.values()))["content_accuracy"]
    lines = [f"the judge reads {shown(accuracy)} of people whom it never met"]
    for measures in (MEASURES, DISTANCES):
        lines.append(f"{'':24}  {'  '.join(measures)}")
        for name, found in results.items():
            cells = [f"{shown(found[measure]):>{len(measure)}}" for measure in measures]
            lines.append(f"{name:24}  {'  '.join(cells)}")
    return "\n".join(f"  {line}" for line in lines)


def shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    run_script(main)
