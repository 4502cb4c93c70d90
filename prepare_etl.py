"""Turn files of the ETL Character Database into the images of a study, once.

    python prepare_etl.py data=etl_paper data.etl.folder=PATH pipeline.num_workers=2
    python prepare_etl.py data=etl_fewshot data.etl.folder=PATH data.etl.samples_per_class=5

Checks the files, chooses records by writer, and writes to ``data.etl.output``: packed arrays of the
three splits, a contact sheet of each set (``sheets/``: check that labels and images match),
``integrity.txt``, ``summary.txt`` and, with ``data.etl.png=true``, the original images as PNG files
with manifests. The same command resumes after an interruption; finished work is not repeated until
a file changes. Then ``pipeline.py data=etl_paper`` opens the arrays. Get the files from AIST, under
its terms (docs/etl.md).
"""

from handwriting.script import run_script

# isort: split

import shutil
from pathlib import Path

from handwriting.config import SPLITS, Config
from handwriting.corpus.readers.etl import EtlData
from handwriting.errors import InputError
from handwriting.etl.integrity import inspect, integrity_report, require_whole, source_stamps
from handwriting.etl.outputs import has_originals, write_originals, write_sheets, write_summary
from handwriting.etl.preparation import prepare
from handwriting.etl.selection import select
from handwriting.parallel.ranks import main_only
from handwriting.sources.fonts import find_fonts
from handwriting.storage.atomic import write_text
from handwriting.storage.json_files import write_json
from handwriting.storage.locks import FolderLock, is_vacant
from handwriting.storage.stamps import stamps


@main_only
def main(config: Config) -> Path:
    data, num_workers = config.data, config.pipeline.num_workers
    if not isinstance(data, EtlData):
        raise InputError("choose data=etl_paper, etl_fewshot, etl_katakana28 or etl_hiragana72")
    etl, output = data.etl, Path(data.etl.output).absolute()
    settings = data.settings(config.size_px)
    is_done = data.is_prepared(config.size_px)
    if not is_done or (etl.png and not has_originals(output)):
        refuse_others(output)
        with FolderLock(output):
            files = inspect(Path(etl.folder), data.set_names)
            report = integrity_report(files)
            write_text(output / "integrity.txt", report)
            print(report, flush=True)
            require_whole(Path(etl.folder), files)
            if not is_done:
                fonts = config.fonts
                face = find_fonts(fonts.packages, fonts.folders, fonts.list_file, fonts.system)[0]
                records, fates = select(files, settings["characters"], etl, data.split_seed)
                sources = source_stamps(files, etl.co59)
                blank = prepare(files, records, settings, sources, output, num_workers)
                write_sheets(output, files, face)
                write_summary(output, fates, blank)
                shutil.rmtree(output / "unfinished")
                # The array's own meta.json vouches for each split.
                names = [f"{split}/meta.json" for split in SPLITS]
                names += ["integrity.txt", "summary.json", "summary.txt", "sheets/*.png"]
                paths = [path for name in names for path in sorted(output.glob(name))]
                made = stamps(output, paths)
                prepared = {"settings": settings, "sources": sources, "files": made}
                write_json(output / "prepared.json", prepared)
            if etl.png:
                write_originals(output, files, num_workers)
    print((output / "summary.txt").read_text(encoding="utf-8") + f"\n{output}")
    return output


def refuse_others(output: Path) -> None:
    """Check that a folder is empty or holds what this script wrote."""
    if not output.is_dir() or is_vacant(output):
        return
    names = {path.name for path in output.iterdir()}
    if not names & {"integrity.txt", "prepared.json", "unfinished"}:
        raise InputError(f"{output} holds other files: give data.etl.output a folder of its own")


if __name__ == "__main__":
    run_script(main, data="etl_paper", reads=["pipeline.num_workers"])
