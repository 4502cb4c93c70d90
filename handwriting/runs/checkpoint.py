"""Files of tensors: weights and checkpoints, read without trusting what they say.

``torch.load(weights_only=True)`` runs no code from a file, but takes the memory that it asks for: a
kilobyte may be compressed zeros, call for an array of any size, or name a tensor of 10^12 elements
that all lie in one place. Here a file may hold what :func:`save_tensors` writes, and nothing larger
than itself.
"""

import errno
import os
import pickletools
import zipfile
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from handwriting.storage.atomic import write_atomically

MAX_INTEGER = 2**63
_DTYPES = ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
_NAMES = {
    "torch._utils _rebuild_tensor_v2", "collections OrderedDict",
    *(f"torch {dtype}Storage" for dtype in _DTYPES),
}  # fmt: skip
# Other ways to name something to be called; torch.save writes none of them.
_CALLS = {"STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4"}


def save_tensors(path: Path, value: Any, before: Path | None = None) -> None:
    """Write tensors; the file that was there takes the name ``before``, if one is given."""

    def write(temporary: Path) -> None:
        try:
            # By an open file: by a path, torch writes the file's temporary name into it, and equal
            # weights would have unequal bytes.
            with open(temporary, "wb") as file:
                torch.save(value, file)
        except RuntimeError as error:  # what torch makes of a full disk
            raise OSError(
                errno.EIO, f"torch cannot write it, is the disk full? ({error})"
            ) from error
        if before is not None and path.is_file():
            os.replace(path, before)

    write_atomically(path, write)


def read_tensors(path: Path) -> Any:
    """The dictionaries, lists, numbers, words and tensors of a file, on the CPU.

    Raises:
        ValueError: the file is damaged, or not of :func:`save_tensors`' making.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            most_items = _check_archive(file, size)
            file.seek(0)
            value = torch.load(file, weights_only=True, map_location="cpu")
        _check_value(value, most_items, size)
    except Exception as error:  # zipfile and torch raise whatever the broken bytes lead to
        raise ValueError(str(error) or type(error).__name__) from error
    return value


def _check_archive(file: IO[bytes], size: int) -> int:
    """Check the parts of the file before torch unpacks them; return the length of the pickle."""
    with zipfile.ZipFile(file) as archive:
        parts = archive.infolist()
        if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
            raise ValueError("its parts are compressed")
        if sum(part.file_size for part in parts) > size:
            raise ValueError("its parts are larger than itself")
        damaged = archive.testzip()  # torch does not look at the check sums
        if damaged is not None:
            raise ValueError(f"{damaged} is not what was written")
        pickles = [archive.read(part) for part in parts if part.filename.endswith("data.pkl")]
    for content in pickles:
        for code, name, _ in pickletools.genops(content):
            if code.name in _CALLS or (code.name == "GLOBAL" and name not in _NAMES):
                raise ValueError(f"it wants to call {name or code.name}")
    return sum(map(len, pickles))


def _check_value(value: Any, most_items: int, most_bytes: int) -> None:
    """Check that nothing is larger than the file by lying in several places at once."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            children = [*item, *item.values()]
        elif isinstance(item, list | tuple):
            children = list(item)
        else:
            children = []
            most_bytes -= _bytes_of(item)
        most_items -= len(children)
        if most_items < 0 or most_bytes < 0:
            raise ValueError("it says the same thing many times")
        waiting += children


def _bytes_of(item: Any) -> int:
    """The bytes of a tensor, 0 for a word or a number."""
    if isinstance(item, Tensor):
        num_bytes = item.numel() * item.element_size()
        if num_bytes > item.untyped_storage().nbytes():
            raise ValueError(f"a tensor {tuple(item.shape)} is larger than what is stored of it")
        return num_bytes
    if not isinstance(item, str | int | float | None):
        raise ValueError(f"it holds a {type(item).__name__}")
    if isinstance(item, int) and abs(item) >= MAX_INTEGER:
        raise ValueError("it holds an integer of more than 64 bits")
    return 0
