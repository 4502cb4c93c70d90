"""Arrays that are expensive to compute, cached in a file."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from handwriting.storage.atomic import write_atomically

Arrays = dict[str, npt.NDArray[Any]]


def cached_arrays(path: Path, make: Callable[[], Mapping[str, npt.NDArray[Any]]]) -> Arrays:
    """The arrays in a file, computed first if it is missing or damaged (by its checksums).

    Raises:
        InputError: the disk is full or the folder cannot be written.
    """
    if path.is_file():
        try:
            with np.load(path) as archive:
                return {name: archive[name] for name in archive.files}
        except Exception as error:  # NumPy and zipfile raise whatever the broken bytes lead to
            print(f"  {path} is damaged and will be recomputed ({error})", flush=True)
    arrays = dict(make())
    # Uncompressed: compressing takes longer than computing.
    write_atomically(path, lambda temporary: np.savez(temporary, **arrays))  # type: ignore[arg-type]
    return arrays
