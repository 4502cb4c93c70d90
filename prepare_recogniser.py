"""Train the recogniser that ships: of all 3,057 characters, and of nobody's handwriting.

    python prepare_recogniser.py experiment=recogniser

Writes ``runs/<name>/classifier.safetensors`` in float16, which ``handwriting/weights/`` holds:
what it can read, has seen and is licensed under stand in it.
"""

from handwriting.script import run_script

# isort: split

from pathlib import Path

from handwriting.config import Config
from handwriting.parallel.ranks import main_only
from handwriting.runs.folder import run_folder
from handwriting.runs.weights import KANJIVG_AND_FONTS, half, load_weights, save_weights
from handwriting.storage.json_files import read_own
from training_character_classification import train


def main(config: Config) -> Path:
    path = export(train.main(config), run_folder(config))
    print(f"{path}\n{path.stat().st_size / 1e6:.2f} MB", flush=True)
    return path


@main_only
def export(run: Path, folder: Path) -> Path:
    """Write a run's weights in float16, with licence, credit and figures."""
    weights = load_weights(run, "classifier", "training_character_classification/train.py")
    facts = {**weights.facts, **KANJIVG_AND_FONTS, "figures": read_own(run / "metrics.json")}
    path = folder / "classifier.safetensors"
    return save_weights(path, "classifier", weights.arguments, facts, half(weights.state))


if __name__ == "__main__":
    run_script(main, reads=["aug", "classifier", "gen_ratio"])
