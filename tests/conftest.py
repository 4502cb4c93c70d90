"""What the tests share: drawn glyphs, a small manifest, the smoke study, its trained encoders."""

import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from hypothesis import settings
from PIL import Image, ImageDraw, ImageFont

from handwriting.config import Config
from handwriting.corpus.corpus import Corpus, open_corpus
from handwriting.images import thinning
from handwriting.images.canonical import Uint8
from handwriting.images.thinning import line_drawings
from handwriting.rng import Rng
from handwriting.runs.folder import run_folder
from handwriting.runs.run import Run
from handwriting.runs.runtime import Runtime
from handwriting.runs.weights import load_weights, save_weights
from handwriting.script import compose
from handwriting.sources.fonts import find_fonts

settings.register_profile("patient", deadline=None)  # a busy machine is slow, not wrong
settings.load_profile("patient")

# The networks of tests are too small for more; subprocesses inherit it. One given by hand wins.
NUM_THREADS = int(os.environ.setdefault("OMP_NUM_THREADS", "1"))

SMOKE = "あシツ木林休"
WRITERS = tuple(f"writer_{number:02d}" for number in range(1, 6))
ROOT = Path(__file__).resolve().parents[1]
KATAKANA = ROOT.parent / "shared/data/omniglot_katakana/manifest.json"

ComposeSmoke = Callable[..., Config]
DrawGlyph = Callable[..., Uint8]
Interrupt = Callable[[str, int], list[str]]
Write = Callable[..., Path]  # the fixture write_images


@contextmanager
def begun() -> Iterator[list[str]]:
    """The stages that begin inside, in order."""
    stages: list[str] = []
    begin = Run.begin

    def noted(self: Run) -> Run:
        stages.append(self.folder.relative_to(run_folder(self._config)).as_posix())
        return begin(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "begin", noted)
        yield stages


@pytest.fixture(autouse=True)
def same_threads() -> None:
    torch.set_num_threads(NUM_THREADS)


@pytest.fixture(autouse=True)
def signals_as_in_the_foreground() -> Iterator[None]:
    """A shell lets what it starts in the background ignore SIGINT, and these tests with it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def shared_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of pytest-xdist have in common, empty at the session's start."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def draw_glyph() -> DrawGlyph:
    """A packaged font's glyph as black ink on white paper, (H, W) uint8."""
    path = find_fonts()[0].path

    def draw(character: str, size_px: int = 64, offset: tuple[int, int] = (8, 2)) -> Uint8:
        font = ImageFont.truetype(path, size_px, layout_engine=ImageFont.Layout.BASIC)
        picture = Image.new("L", (size_px + 24, size_px + 24), 255)
        ImageDraw.Draw(picture).text(offset, character, fill=0, font=font)
        return np.asarray(picture)

    return draw


def bent_by(writer: str, image: Image.Image) -> Image.Image:
    """A drawing as this writer bends what everybody writes: other people's are no copies."""
    far = 0.3 * max(image.size)
    moved = np.random.default_rng(list(writer.encode())).uniform(-far, far, 8)
    corners = np.array([[0, 0], [0, image.height], [*image.size], [image.width, 0]]).ravel()
    quad = tuple((corners + moved).tolist())
    method = Image.Transform.QUAD, quad, Image.Resampling.BILINEAR
    return image.transform(image.size, *method, fillcolor=255)


@pytest.fixture
def write_images(tmp_path: Path, draw_glyph: DrawGlyph) -> Callable[..., Path]:
    """A function that draws a manifest's images and writes the manifest."""

    def write(
        characters: Sequence[str] = SMOKE, writers: Sequence[str] = WRITERS, name: str = "own",
        is_bent: bool = True,
    ) -> Path:  # fmt: skip
        folder = tmp_path / name
        listing: dict[str, list[str]] = {}
        for character in characters:
            for i, writer in enumerate(writers):
                file = f"U+{ord(character):04X}/{writer}.png"
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                glyph = Image.fromarray(draw_glyph(character, 40 + 5 * i))
                (bent_by(writer, glyph) if is_bent else glyph).save(folder / file)
                listing.setdefault(character, []).append(file)
        path = folder / "manifest.json"
        path.write_text(json.dumps(listing, ensure_ascii=False), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def cache_dir(shared_dir: Path) -> Path:
    return shared_dir / "cache"


def smoke_overrides(runs_dir: Path, cache_dir: Path, *more: str) -> list[str]:
    return [
        "experiment=smoke",
        f"runs_dir={runs_dir}",
        f"cache_dir={cache_dir}",
        f"runtime.num_threads={NUM_THREADS}",
        "runtime.precision=no",
        *more,
    ]


@cache
def composed_once(cache_dir: Path, *more: str) -> Config:
    """What many tests ask for, each in a folder of its own: Hydra takes a quarter of a second."""
    return compose(smoke_overrides(Path("runs"), cache_dir, *more))


@pytest.fixture
def smoke(tmp_path: Path, cache_dir: Path) -> ComposeSmoke:
    """The smoke study with overrides, in a run folder of the test's own."""

    def composed(*more: str, runs_dir: Path = tmp_path / "runs") -> Config:
        # Few enough people for the drawn manifests of the tests.
        few = ["data.characters=smoke", "data.train_writers=2"] if "data=manifest" in more else []
        return replace(deepcopy(composed_once(cache_dir, *few, *more)), runs_dir=str(runs_dir))

    return composed


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Corpus:
    """The smoke study's characters, writers and fonts."""
    return open_corpus(compose(smoke_overrides(tmp_path_factory.mktemp("unused"), cache_dir)))


@pytest.fixture(scope="session")
def trained(shared_dir: Path, cache_dir: Path) -> Path:
    """A ``runs_dir`` in which the smoke study's encoders and CLIP are trained, once by a worker."""
    from training_clip import train_clip, train_image_encoder, train_text_encoder

    runs_dir = shared_dir / "trained"
    config = compose(smoke_overrides(runs_dir, cache_dir))
    with FileLock(shared_dir / "trained.lock"):
        for stage in (train_image_encoder, train_text_encoder, train_clip):
            stage.main(config)
    return runs_dir


def encoders(runs_dir: Path) -> list[str]:
    """Overrides that name the encoders and CLIP of a ``runs_dir``."""
    kinds = {"image_weight": "image_encoder", "text_weight": "text_encoder", "clip_weight": "clip"}
    return [f"{name}={runs_dir / 'smoke' / kind}" for name, kind in kinds.items()]


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> Interrupt:
    """Kill the stage at the n-th call of a method of its run; what is called later goes on.

    Returns the list that every call is noted in.
    """

    def at(method: str, call: int) -> list[str]:
        calls: list[str] = []
        original = getattr(Run, method)

        def interrupted(self: Run, *arguments: object, **values: object) -> object:
            calls.append(method)
            if len(calls) == call:
                raise KeyboardInterrupt
            return original(self, *arguments, **values)

        monkeypatch.setattr(Run, method, interrupted)
        return calls

    return at


@pytest.fixture
def clip_folder(trained: Path, smoke: ComposeSmoke) -> Path:
    return run_folder(smoke(runs_dir=trained)) / "clip"


@pytest.fixture
def runtime(smoke: ComposeSmoke) -> Runtime:
    return Runtime(smoke().runtime)


@pytest.fixture
def thinned(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images were made line drawings of, call by call."""
    made = []

    def noted(images: Uint8) -> Uint8:
        made.append(len(images))
        return line_drawings(images)

    monkeypatch.setattr(thinning, "line_drawings", noted)
    return made


@pytest.fixture
def rng() -> Rng:
    return Rng(0)


def edit_facts(path: Path, **facts: object) -> None:
    """Change what a weight file says, as if it had been made so; None: no longer said."""
    weights = load_weights(path, path.stem)
    said = {name: value for name, value in {**weights.facts, **facts}.items() if value is not None}
    save_weights(path, weights.kind, weights.arguments, said, weights.state)
