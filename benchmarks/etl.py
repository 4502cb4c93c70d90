"""How fast ETL files are read, on one core, compared with a loop over the records.

    python benchmarks/etl.py

Prints records per second of synthetic files: for full-scale images; for metadata, for characters,
and for everything including writers, these three with the opening of the file; and for a plain
reader that unpacks each record with ``struct`` and its image with Pillow, as public readers do,
without decoding the character.
"""

import argparse
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from timing import seconds

from handwriting.characters.classes import class_list
from handwriting.etl import SETS, EtlFile

RECORDS = {
    "ETL9G_01": 6_000,
    "ETL6C_01": 13_830,
    "ETL2_1": 9_056,
    "ETL5C": 10_608,
    "ETL9B_1": 40_001,
}
# The fields of a record up to its image; those of ETL2 and ETL5 are no whole bytes.
PLAIN_RECORD = {
    "ETL9G": ">2H8sI4B4H2B34x8128s7x",
    "ETL6": ">H2sH6BI4H4B4x2016s4x",
    "ETL2": ">45s2700s",
    "ETL5": ">216s2736s",
    "ETL9B": ">2H4s504s64x",
}
LOW_BYTE_OF_SHEET = {"M": 5, "K": 4, "C": 8, "B": 1, "G": 1}  # ETL2 has none: of its serial number


def write_records(path: Path, num_records: int) -> EtlFile:
    """A file of random pixels, 256 sheets, and characters that exist."""
    rng = np.random.default_rng(0)
    form = next(form for form in SETS.values() if path.name in form.files)
    records = rng.integers(0, 256, (num_records, form.record_bytes), np.uint8)
    sheet = records[:, 0].copy()
    records[:, : form.image_byte] = 0
    records[:, LOW_BYTE_OF_SHEET[form.family]] = sheet
    if form.family in "BG":
        kanji = "".join(class_list("kanji")).encode("euc_jp")
        codes = np.frombuffer(kanji, np.uint8).reshape(-1, 2) & 0x7F
        records[:, 2:4] = rng.choice(codes, num_records)
        records[: form.dummy_records] = 0
    elif form.family in "MC":
        records[:, 6 if form.family == "M" else 9] = rng.integers(0xB1, 0xDD, num_records)
    records.tofile(path)
    return EtlFile(path)


def plain_images(file: EtlFile) -> list[np.ndarray]:
    """The images record by record."""
    form = file.etl_set
    size = (form.width_px, form.height_px)
    record = struct.Struct(PLAIN_RECORD[form.name])
    images = []
    with file.path.open("rb") as stream:
        while data := stream.read(form.record_bytes):
            packed = record.unpack(data)[-1]
            image = Image.frombytes("F", size, packed, "bit", form.bits)
            images.append((np.asarray(image) * (255 / (2**form.bits - 1)) + 0.5).astype(np.uint8))
    return images[form.dummy_records :]


def everything(file: EtlFile) -> tuple[object, ...]:
    return file.images(), file.characters, file.writers, file.is_model, file.metadata


def all_rates(folder: Path, repeats: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Records a second of each set, by what is read of them."""
    for name, num_records in RECORDS.items():
        file = write_records(folder / name, num_records)
        assert np.array_equal(file.images(), plain_images(file))
        work: dict[str, Callable[[], object]] = {
            "images": file.images,
            "metadata": lambda path=file.path: EtlFile(path).metadata,
            "characters": lambda path=file.path: EtlFile(path).characters,
            "all": lambda path=file.path: everything(EtlFile(path)),
            "plain images": lambda file=file: plain_images(file),
        }
        rates = {what: len(file) / seconds(one, repeats) for what, one in work.items()}
        yield file.etl_set.name, rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--repeats", type=int, default=5, help="of which the median is printed")
    repeats = parser.parse_args().repeats
    names = ("images", "metadata", "characters", "all", "plain images")
    print("records/s " + "".join(f"{name:>14}" for name in names) + "  images : plain  all : plain")
    with tempfile.TemporaryDirectory() as folder:
        for name, rates in all_rates(Path(folder), repeats):
            plain = rates["plain images"]
            print(f"{name:10}" + "".join(f"{rate:14,.0f}" for rate in rates.values()), end="")
            print(f"{rates['images'] / plain:16.1f}{rates['all'] / plain:13.1f}", flush=True)


if __name__ == "__main__":
    main()
