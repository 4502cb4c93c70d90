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
from handwriting.runs.weights import KANJIVG, half, load_weights, save_weights
from handwriting.storage.json_files import read_own
from training_character_classification import train


@main_only
def main(config: Config) -> Path:
    run = train.main(config)
    weights = load_weights(run, "classifier", "training_character_classification/train.py")
    figures = read_own(run / "metrics.json")
    facts = {**weights.facts, **KANJIVG, "figures": figures}
    facts["credit"] += ", and from renders of Noto and IPAex fonts"
    path = run_folder(config) / "classifier.safetensors"
    save_weights(path, "classifier", weights.arguments, facts, half(weights.state))
    print(f"{path}\n{path.stat().st_size / 1e6:.2f} MB")
    return path


if __name__ == "__main__":
    run_script(main, reads=["aug", "classifier", "gen_ratio"])
