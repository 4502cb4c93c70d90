"""The report: one self-contained HTML page of text, tables and pictures."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment
from PIL import Image

from handwriting.storage.atomic import write_text

# Everything is inside the page, so that it can be mailed or archived as one file.
TEMPLATE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{{ title }}</title>
<style>
 body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem;
        color: #222 }
 h1 { font-size: 1.6rem } h2 { font-size: 1.15rem; margin-top: 2.2rem;
      border-bottom: 1px solid #ccc }
 table { border-collapse: collapse; margin: .8rem 0 } td, th { padding: .2rem .8rem .2rem 0;
      text-align: right; border-bottom: 1px solid #eee; font-variant-numeric: tabular-nums }
 td:first-child, th:first-child, table.text * { text-align: left } th { font-weight: 600 }
 img { max-width: 100% } img.sheet { image-rendering: pixelated }
 figure { margin: 1rem 0 } figcaption { color: #555; font-size: .9em }
 .notice { background: #fff4d6; padding: .6rem 1rem; border-left: 4px solid #e0a800 }
</style>
<h1>{{ title }}</h1>
{% for section in sections %}
{% if section.heading %}<h2>{{ section.heading }}</h2>{% endif %}
{% for paragraph in section.paragraphs %}<p>{{ paragraph }}</p>{% endfor %}
{% if section.notice %}<p class="notice">{{ section.notice }}</p>{% endif %}
{% if section.rows %}<table {% if section.is_text %}class="text"{% endif %}>
<tr>{% for cell in section.columns %}<th>{{ cell }}</th>{% endfor %}</tr>
{% for row in section.rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</table>{% endif %}
{% for picture in section.pictures %}<figure>
<img {% if picture.is_sheet %}class="sheet" width="{{ 2 * picture.width_px }}"{% endif %}
 src="data:image/png;base64,{{ picture.encoded }}" alt="{{ picture.caption }}">
<figcaption>{{ picture.caption }}</figcaption></figure>{% endfor %}
{% endfor %}
</html>
"""


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


def write_report(path: Path, title: str, sections: Sequence[Section]) -> Path:
    """Write the page; text is escaped."""
    template = Environment(autoescape=True).from_string(TEMPLATE)
    write_text(path, template.render(title=title, sections=sections))
    return path
