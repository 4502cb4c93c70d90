"""Write images by simulated writers as PNG files with a manifest, like real handwriting.

    python prepare_simulated.py data.characters=katakana data.num_writers=50

Writes ``runs/<name>/simulated/manifest.json`` and ``writers.json``. The images are drawn from
KanjiVG's strokes: publish them under CC BY-SA 3.0, with its credit. The other scripts do not need
these files: ``data=simulated`` draws the same images itself.
"""

from handwriting.script import run_script

# isort: split

from pathlib import Path

from handwriting.characters.classes import class_list
from handwriting.config import Config
from handwriting.corpus.readers.simulated import SimulatedData
from handwriting.errors import InputError
from handwriting.parallel.ranks import main_only
from handwriting.runs.folder import run_folder
from handwriting.sources.simulated_writers import simulated, write_corpus
from handwriting.storage.locks import FolderLock


@main_only
def main(config: Config) -> Path:
    data = config.data
    if not isinstance(data, SimulatedData):
        raise InputError("nobody to write: take data=simulated")
    packed = simulated(
        class_list(data.characters), data.num_writers, data.samples_per_writer,
        data.split_seed, config.size_px, Path(config.cache_dir).absolute(),
    )  # fmt: skip
    folder = run_folder(config) / "simulated"
    with FolderLock(folder):
        manifest = write_corpus(folder, packed)
    print(f"{len(manifest.entries)} images: {manifest.path}")
    return manifest.path


if __name__ == "__main__":
    run_script(main)
