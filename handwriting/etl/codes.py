"""Character codes of the ETL files, decoded to the characters that a reader expects."""

import re
import unicodedata
from pathlib import Path

from handwriting.errors import InputError

# The six-bit code of the TOSBAC-5600 (the BCD of the GE-600). A widely copied table is wrong in
# four places: it has blanks at 31, 32 and 58 and "|" at 48, where ETL3 has its "_" and "+".
T56 = (
    "0123456789[#@:>?"
    " ABCDEFGHI&.](<\\"
    "^JKLMNOPQR-$*);'"
    "+/STUVWXYZ_,%=\"!"
)  # fmt: skip

_NOT_AS_THE_CODEC_SAYS = {
    0x5C: "¥",
    0x7E: "‾",
    0xA8: "ヰ",  # JIS X 0201 has no ヰ and ヱ; the files use the small ィ and ェ, which they
    0xAA: "ヱ",  # never need for themselves
    0xDE: "゛",  # compatibility decomposition would make combining marks of these two
    0xDF: "゜",
}
_KATAKANA_TO_HIRAGANA = ord("あ") - ord("ア")


def jis_x_0201(code: int, hiragana: bool) -> str | None:
    """The character of a JIS X 0201 byte; None if the byte stands for none.

    Args:
        code: 0x20-0x7E (Latin) or 0xA1-0xDF (katakana, which come out in full width).
        hiragana: the set writes hiragana under the codes of katakana.
    """
    if not (0x20 <= code <= 0x7E or 0xA1 <= code <= 0xDF):
        return None
    character = _NOT_AS_THE_CODEC_SAYS.get(code)
    if character is None:
        character = unicodedata.normalize("NFKC", bytes([code]).decode("shift_jis"))
    if hiragana and "ァ" <= character <= "ン":
        return chr(ord(character) + _KATAKANA_TO_HIRAGANA)
    return character


def jis_x_0208(code: int) -> str | None:
    """The character of a JIS X 0208 code such as 0x3021 (亜); None if the code has none."""
    high, low = divmod(code, 256)
    if not (0x21 <= high <= 0x7E and 0x21 <= low <= 0x7E):
        return None
    return bytes([high | 0x80, low | 0x80]).decode("euc_jp", "ignore") or None


_CO59_LINE = re.compile(r"(.):(\d{1,2}),(\d{1,2})\s*")
_ILLEGIBLE = "▲"


def read_co59(path: str | Path) -> dict[tuple[int, int], str]:
    """The table of CO-59, the code of ETL2: (a, b) -> character.

    Args:
        path: ``euc_co59.dat`` as it comes with the database, or the same in UTF-8; a line is
            ``字:a,b``. Codes whose character is illegible (▲) are left out.

    Raises:
        InputError: the file is unreadable or in another encoding, a line has another form, or two
            characters have the same code.
    """
    table: dict[tuple[int, int], str] = {}
    for number, line in enumerate(_japanese_lines(Path(path)), 1):
        if not line.strip():
            continue
        found = _CO59_LINE.fullmatch(line)
        if found is None:
            raise InputError(f"{path}, line {number}: expected 字:a,b, found {line!r}")
        character, code = found[1], (int(found[2]), int(found[3]))
        if max(code) > 63:
            raise InputError(f"{path}, line {number}: expected six-bit numbers, found {line!r}")
        if table.setdefault(code, character) != character:
            raise InputError(
                f"{path}, line {number}: {code} is {character}, but {table[code]} further up"
            )
    return {code: character for code, character in table.items() if character != _ILLEGIBLE}


def _japanese_lines(path: Path) -> list[str]:
    """The lines of a text in EUC-JP or UTF-8."""
    if path.exists() and not path.is_file():
        raise InputError(f"cannot read {path}: not a regular file")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    # EUC-JP first: kanji in UTF-8, three bytes and a colon, are never EUC-JP, but some of EUC-JP
    # could pass as UTF-8.
    for encoding in ("euc_jp", "utf-8-sig"):
        try:
            return content.decode(encoding).splitlines()
        except UnicodeDecodeError:
            continue
    raise InputError(f"{path} is neither EUC-JP nor UTF-8: use euc_co59.dat as it was published")
