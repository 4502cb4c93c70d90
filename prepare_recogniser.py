"""Train the shipped recogniser: of all 3,057 characters, from no real image.

    python prepare_recogniser.py experiment=recogniser data.manifest=KATAKANA

It sees fonts, simulated writers, and all characters in the hands of the training writers, who need
not have written many of them. Writes ``runs/<name>/classifier.safetensors`` in float16, which
``handwriting/weights/`` holds; its metadata state what it can read and has seen, and its licence.
"""

from handwriting.script import run_script

# isort: split

from dataclasses import replace
from pathlib import Path

from handwriting.config import Config
from handwriting.corpus.corpus import open_corpus
from handwriting.parallel.ranks import main_only
from handwriting.runs.folder import run_folder
from handwriting.runs.weights import KANJIVG_AND_FONTS, half, load_weights, save_weights
from handwriting.storage.json_files import read_own
from training_character_classification import train
from training_redrawn import generate_images as redrawn_images, train as redrawn


def main(config: Config) -> Path:
    if open_corpus(config).train:
        redrawn.main(config)
        images = redrawn_images.main(config)
        config = replace(config, use_gen=str(images / "manifest.json"))
    path = export(train.main(config), config)
    print(f"{path}\n{path.stat().st_size / 1e6:.2f} MB", flush=True)
    return path


@main_only
def export(run: Path, config: Config) -> Path:
    """Write a run's weights in float16, with licence, credit and figures."""
    weights = load_weights(run, "classifier")
    credit = "; ".join(filter(None, [KANJIVG_AND_FONTS["credit"], config.redrawn.credit]))
    figures = read_own(run / "metrics.json")
    del figures["duration_s"]  # the same training writes the same file
    facts = {**weights.facts, **KANJIVG_AND_FONTS, "credit": credit, "figures": figures}
    path = run_folder(config) / "classifier.safetensors"
    return save_weights(path, "classifier", weights.arguments, facts, half(weights.state))


if __name__ == "__main__":
    run_script(main, reads=["aug", "classifier", "gen_ratio", "generation", "redrawn"])
