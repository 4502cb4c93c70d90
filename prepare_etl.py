"""Turn files of the ETL Character Database into the images of a study, once.

    python prepare_etl.py data=etl_paper data.etl.folder=PATH pipeline.num_workers=2
    python prepare_etl.py data=etl_fewshot data.etl.folder=PATH data.etl.samples_per_class=5

Checks the files, chooses records by writer, and writes to ``data.etl.output``: packed arrays of the
three splits, a contact sheet of each set (``sheets/``: look whether labels and images match),
``integrity.txt``, ``summary.txt`` and, with ``data.etl.png=true``, the original images as PNG files
with manifests. Interrupted, it goes on; done, it is not done again. Then ``pipeline.py
data=etl_paper`` opens the arrays. Get the files from AIST, under its terms (README).
"""

from pathlib import Path

from handwriting.config import Config
from handwriting.corpus.readers.etl import EtlData
from handwriting.errors import InputError
from handwriting.etl.integrity import (
    DataFile,
    inspect,
    integrity_table,
    require_whole,
    write_integrity,
)
from handwriting.etl.originals import has_originals, write_originals
from handwriting.etl.preparation import prepare
from handwriting.etl.prepared import (
    is_left_over,
    is_prepared,
    mark,
    remove_parts,
)
from handwriting.etl.selection import select
from handwriting.etl.settings import Etl
from handwriting.etl.sheets import write_sheets
from handwriting.etl.summary import write_summary
from handwriting.parallel.ranks import main_only
from handwriting.script import run_script
from handwriting.sources.fonts import find_fonts
from handwriting.storage.locks import LOCK_FILE, FolderLock


@main_only
def main(config: Config) -> Path:
    data = etl_data(config)
    etl, settings = data.etl, data.settings(config.size_px)
    output = Path(etl.output).absolute()
    done = is_prepared(output, settings)
    wanted = not done or (etl.png and not has_originals(output))
    if wanted or is_left_over(output):
        refuse_others(output)
        with FolderLock(output):
            if wanted:
                files = check(etl, output)
            if not done:
                make(config, files, output)
            if wanted and etl.png:
                write_originals(output, files, config.pipeline.num_workers)
            remove_parts(output)
    print((output / "summary.txt").read_text(encoding="utf-8") + f"\n{output}")
    return output


def etl_data(config: Config) -> EtlData:
    """The study's choice of the ETL Character Database.

    Raises:
        InputError: the study reads other data.
    """
    if not isinstance(config.data, EtlData):
        raise InputError("choose data=etl_paper, etl_fewshot, etl_katakana28 or etl_hiragana72")
    return config.data


def refuse_others(output: Path) -> None:
    """Check that a folder is empty or holds what this script wrote."""
    names = {path.name for path in output.iterdir()} if output.is_dir() else set()
    if names - {"lock", LOCK_FILE} and "integrity.json" not in names:
        raise InputError(f"{output} holds other files: give data.etl.output a folder of its own")


def check(etl: Etl, output: Path) -> list[DataFile]:
    """The files of the study, after a report on all of them; stops at whatever is wrong."""
    files = inspect(Path(etl.folder), [*etl.train_sets, *etl.evaluation_sets])
    write_integrity(output, files)
    print(integrity_table(files), flush=True)
    require_whole(Path(etl.folder), files)
    return files


def make(config: Config, files: list[DataFile], output: Path) -> None:
    """Arrays, sheets and summary; ``prepared.json`` last."""
    fonts, data = config.fonts, etl_data(config)
    settings = data.settings(config.size_px)
    faces = find_fonts(fonts.packages, fonts.folders, fonts.list_file, fonts.system)
    selection = select(files, settings["characters"], data.etl, data.split_seed)
    blank = prepare(selection, settings, output, config.pipeline.num_workers)
    write_sheets(output, files, faces[0])
    write_summary(output, selection.counts, blank)
    mark(output, settings)


if __name__ == "__main__":
    run_script(main, data="etl_paper")
