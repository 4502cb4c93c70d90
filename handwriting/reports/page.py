"""The report: one self-contained HTML page of text, tables and pictures."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from PIL import Image

from handwriting.storage.atomic import write_text

# Everything is inside the page, so that it can be mailed or archived as one file.
ENVIRONMENT = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)


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
    """A part of the report; what is empty is left out. A table of text is set to the left."""

    heading: str
    paragraphs: Sequence[str] = ()
    notice: str = ""
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    is_text: bool = False
    pictures: Sequence[Picture] = ()


def number_text(value: float | None, form: str = ".3f") -> str:
    """A number; a dash where there is none."""
    return "-" if value is None else f"{value:{form}}"


def text_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as aligned text, its first column to the left."""
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    return "\n".join(
        "  ".join([f"{first:{widths[0]}}", *map(str.rjust, rest, widths[1:])])
        for first, *rest in (columns, *rows)
    )


def write_report(path: Path, title: str, sections: Sequence[Section]) -> Path:
    """Write the page; text is escaped."""
    template = ENVIRONMENT.get_template("page.html")
    write_text(path, template.render(title=title, sections=sections))
    return path
