"""The report: one self-contained HTML page of text, tables and pictures."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from PIL import Image

from handwriting.storage.atomic import write_text

# The page contains everything, so that it can be mailed or archived as one file.
ENVIRONMENT = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)


Row = Mapping[str, str]  # of a table: column -> cell


@dataclass(frozen=True)
class Picture:
    """A PNG with its caption; a sheet of small images is enlarged without smoothing."""

    path: Path
    caption: str
    is_sheet: bool = False

    @property
    def width_px(self) -> int:
        with Image.open(self.path) as image:
            return image.width

    @property
    def encoded(self) -> str:
        return base64.b64encode(self.path.read_bytes()).decode()


@dataclass(frozen=True)
class Section:
    """A part of the report; empty parts are left out. A table of text is left-aligned."""

    heading: str
    paragraphs: Sequence[str] = ()
    notice: str = ""
    rows: Sequence[Row] = ()
    is_text: bool = False
    pictures: Sequence[Picture] = ()


def number_text(value: float | None, form: str = ".3f") -> str:
    """A number; a dash for None."""
    return "-" if value is None else f"{value:{form}}"


def text_table(rows: Sequence[Row]) -> str:
    """A table as aligned text, its first column left-aligned."""
    lines = [list(rows[0]), *(list(row.values()) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([first.ljust(widths[0]), *map(str.rjust, rest, widths[1:])])
        for first, *rest in lines
    )


def write_report(path: Path, title: str, sections: Sequence[Section]) -> Path:
    """Write the page; text is escaped."""
    template = ENVIRONMENT.get_template("page.html")
    write_text(path, template.render(title=title, sections=sections))
    return path
