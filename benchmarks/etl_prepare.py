"""How fast, and with how much memory, ETL9G becomes packed 64 px canonical images. Linux only.

    python benchmarks/etl_prepare.py --workers 1 2

A tenth of ETL9G (5 files of 12,144 records, 498 MB) is drawn by a simulated writer into a temporary
folder and prepared. Prints the rate of ``canonical`` alone on one core; then, for each number of
processes, the wall-clock seconds for checking the files, choosing records and making the images;
the CPU seconds for the images, which depend less on other load; and the peak proportional memory
(PSS) of all processes together, mapped files included. The whole set takes ten times as long.
"""

import argparse
import os
import re
import shutil
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from handwriting.characters.classes import class_list
from handwriting.corpus.readers.etl import EtlData
from handwriting.etl import SETS, EtlFile
from handwriting.etl.integrity import inspect, source_stamps
from handwriting.etl.preparation import prepare
from handwriting.etl.selection import select
from handwriting.etl.settings import Etl
from handwriting.images.canonical import Uint8, canonical
from handwriting.sources.simulated_writers import simulate

NUM_FILES, SIZE_PX = 5, 64
HIRAGANA = "".join(chr(code) for code in range(ord("あ"), ord("ん") + 1))
HIRAGANA = re.sub("[ぁぃぅぇぉっゃゅょゎゐゑ]", "", HIRAGANA)  # 71
CHARACTERS = (*HIRAGANA, *class_list("kanji"))  # and 2,965


def write_files(folder: Path) -> None:
    """Every data set holds all characters once, shifted, on paper that is not clean."""
    rng = np.random.default_rng(0)
    drawn = np.concatenate([*simulate(CHARACTERS, 1, 1, 0, 112).images])
    codes = np.frombuffer("".join(CHARACTERS).encode("euc_jp"), np.uint8).reshape(-1, 2) & 0x7F
    form = SETS["ETL9G"]
    for name in form.files:
        with (folder / name).open("wb") as file:
            for _ in range(4):
                records = np.zeros((len(CHARACTERS), form.record_bytes), np.uint8)
                records[:, 2:4] = codes
                records[:, form.image_byte :][:, : form.image_bytes] = packed(drawn, rng)
                records.tofile(file)


def packed(drawn: Uint8, rng: np.random.Generator) -> Uint8:
    """The packed pixels of one data set, (N, 8128): 16 levels, paper 0 or 1."""
    top, left = rng.integers(0, 16, 2)
    levels = rng.integers(0, 2, (len(drawn), 127, 128), np.uint8)
    levels[:, top : top + 112, left : left + 112] |= (drawn // 17)[:, : 127 - top]
    pairs = levels.reshape(len(drawn), -1, 2)
    return pairs[..., 0] << 4 | pairs[..., 1]


class Watch:
    """Time and memory that this process and its descendants use while the block runs."""

    def __enter__(self) -> "Watch":
        self.peak_mb, self._running = 0.0, True
        self._cpu, self._clock = cpu_seconds(), time.perf_counter()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def _look(self) -> None:
        while self._running:
            self.peak_mb = max(self.peak_mb, memory_mb())
            time.sleep(0.2)

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._clock
        self.cpu_seconds = cpu_seconds() - self._cpu
        self._running = False
        self._thread.join()


def processes(pid: int) -> list[int]:
    """A process and all of its descendants."""
    below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in below for one in processes(int(child)))]


def memory_mb() -> float:
    """Proportional memory: pages that several processes share are counted once."""
    files = (Path(f"/proc/{pid}/smaps_rollup") for pid in processes(os.getpid()))
    return sum(int(re.search(r"\nPss: +(\d+)", file.read_text())[1]) for file in files) / 1024


def cpu_seconds() -> float:
    """User and system time."""
    stats = [Path(f"/proc/{pid}/stat").read_text() for pid in processes(os.getpid())]
    ticks = sum(int(n) for stat in stats for n in stat.rpartition(")")[2].split()[11:13])
    return ticks / os.sysconf("SC_CLK_TCK")


def canonical_rate(folder: Path) -> float:
    """Images per second on one core, by CPU time."""
    images = 255 - EtlFile(folder / "ETL9G_01").images(slice(0, 12_144, 6))
    started = time.process_time()
    for image in images:
        canonical(image, SIZE_PX)
    return len(images) / (time.process_time() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=1)
    arguments = parser.parse_args()
    first = dict(list(SETS["ETL9G"].files.items())[:NUM_FILES])
    SETS["ETL9G"] = replace(SETS["ETL9G"], files=first)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(folder)
        print(f"canonical alone, one core: {canonical_rate(folder):,.0f} images/s", flush=True)
        for num_workers in arguments.workers * arguments.repeats:
            measure(folder, num_workers)


def measure(folder: Path, num_workers: int) -> None:
    """Prepare the files once and print time and memory."""
    shutil.rmtree(folder / "out", ignore_errors=True)
    etl = Etl(train_sets=["ETL9G"], evaluation_sets=["ETL9G"], validation_writers=1, test_writers=1)
    classes = folder / "classes.txt"
    classes.write_text("".join(CHARACTERS), encoding="utf-8")
    settings = EtlData(characters=str(classes), etl=etl).settings(SIZE_PX)
    with Watch() as checking:
        files = inspect(folder, ["ETL9G"])
    with Watch() as choosing:
        records, _ = select(files, CHARACTERS, etl, 0)
    with Watch() as making:
        sources = source_stamps(files, None)
        prepare(files, records, settings, sources, folder / "out", num_workers)
    print(
        f"{num_workers} processes: check {checking.seconds:.1f} s, choose {choosing.seconds:.1f} "
        f"s, images {making.seconds:.1f} s ({len(records) / making.seconds:,.0f}/s), "
        f"CPU time {making.cpu_seconds:.1f} s, peak {making.peak_mb:,.0f} MB",
        flush=True,
    )


if __name__ == "__main__":
    main()
