"""From packed bits to bytes, whole arrays at a time."""

from typing import Any

import numpy as np
import numpy.typing as npt

from handwriting.etl.codes import T56
from handwriting.images.canonical import Uint8

_T56 = np.array(list(T56))


def unpack_levels(packed: Uint8, bits: int, levels: Uint8) -> None:
    """Write the pixels of packed images, stretched to 0-255: x -> round(255 x / (2**bits - 1)).

    Args:
        packed: (n, bytes), of whole images.
        bits: per pixel: 1, 4 or 6.
        levels: (n, pixels), contiguous, the output.
    """
    if bits == 1:
        levels[:] = np.unpackbits(packed, axis=1)
    elif bits == 6:
        unpack_six(packed, levels)
        levels[:] = levels * 4 + (levels + 10) // 21  # 255 / 63 = 4 + 1 / 21
        return
    else:
        # A byte of two pixels becomes a 16-bit number of two bytes, the left pixel in the low one:
        # 0xLR * 0x1001 = 0xLR0LR, of which 16 bits keep 0xR0LR; shifted by 4 that is 0x0R0L.
        pairs = levels.view("<u2")
        pairs[:] = packed
        pairs *= 0x1001
        pairs >>= 4
    levels *= 255 // (2**bits - 1)


def unpack_six(packed: Uint8, six: Uint8) -> None:
    """Unpack six-bit numbers, four from every three bytes.

    Args:
        packed: (n, 3 k).
        six: (n, 4 k), contiguous, the output: 0 to 63.
    """
    first, second, third = (packed[:, i::3].astype(np.uint32) for i in range(3))
    four = first << 16 | second << 8 | third
    # As in unpack_levels: a number of four bytes, of which the lowest is the leftmost.
    six.view("<u4")[:] = (
        four >> 18 | (four >> 4) & 0x3F00 | (four << 10) & 0x3F0000 | (four << 24) & 0x3F000000
    )


def byte_fields(header: Uint8, fields: np.dtype[Any]) -> npt.NDArray[np.void]:
    """Fields of whole bytes as a structured array (n,) in native byte order."""
    packed = np.ascontiguousarray(header[:, : fields.itemsize])
    return packed.view(fields)[:, 0].astype(fields.newbyteorder("="))


def six_bit_fields(
    header: Uint8, fields: tuple[tuple[str, int, int, str], ...]
) -> npt.NDArray[np.void]:
    """Fields of six-bit characters as a structured array (n,) in native byte order."""
    six = np.empty((len(header), header.shape[1] * 4 // 3), np.uint8)
    unpack_six(header, six)
    rows = np.empty(len(header), [(name, kind) for name, _, _, kind in fields])
    for name, first, count, _ in fields:
        rows[name] = _six_bit_field(six[:, first : first + count], rows.dtype[name])
    return rows


def _six_bit_field(digits: Uint8, kind: np.dtype[Any]) -> npt.NDArray[Any]:
    """One field of the characters (n, count): text, digits or a number, as its type says."""
    count = digits.shape[1]
    if kind.kind == "U":
        return _T56[digits].view(f"U{count}")[:, 0]
    if kind.subdtype is not None:
        return digits
    number = digits @ (np.uint64(64) ** np.arange(count, dtype=np.uint64)[::-1])
    return number >> np.uint64(max(0, 6 * count - 8 * kind.itemsize))
