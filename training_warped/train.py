"""Record whose images are to be warped; nothing is trained.

    python training_warped/train.py
    python training_warped/generate_images.py

Writes ``runs/<name>/warped/warped.safetensors``, which holds no weights, only the writers and the
characters of the images, which the audit and the generator need.
"""

from handwriting.script import run_script

# isort: split

from pathlib import Path

from handwriting.config import Config
from handwriting.corpus.audit import writers_seen
from handwriting.corpus.corpus import open_corpus
from handwriting.runs.run import Run
from handwriting.runs.weights import save_weights


def main(config: Config) -> Path:
    corpus = open_corpus(config)
    run = Run(config, "warped", ("seed", "size_px", "data"), {"corpus": corpus.key})
    if run.is_done:
        return run.folder
    run.begin()
    written = corpus.without_unseen(corpus.train)
    absent = written.absent()
    facts = {
        "characters": corpus.characters, "size_px": config.size_px,
        "drawable": [character for character in corpus.characters if character not in absent],
        "writers_seen": writers_seen(written),
    }  # fmt: skip
    path = save_weights(run.folder / "warped.safetensors", "warped", {}, facts, {})
    return run.finish({"num_images": len(written)}, [path])


if __name__ == "__main__":
    run_script(main)
