"""How fast everything is, compared with a plain implementation and with the machine's peak.

    python benchmarks/speed.py                                       # one CPU core, 15 minutes
    python benchmarks/speed.py --parts feed training --json speed.json experiment=demo
    python benchmarks/speed.py runtime=gpu style_transfer.batch_size=64 cdiffusion.batch_size=128

Arguments with ``=`` are overrides of the study. Stages are timed through their own ``main``, by the
time between the steps that ``Run.steps`` yields. The plain side is the same script and network with
float32, channels-first, torch's default optimizers and layers without folding; the generator's
objective is back-propagated once for the adaptive weight and once for the gradient, images are
generated one by one, and pairs of images are opened, rotated and stacked with Pillow. The two sides
alternate, and medians over rounds are reported. On a CPU, times are CPU times of this process,
which depend less on other load. ``of peak`` is the rate of multiplications and additions (matrix
products, convolutions, attention) relative to the measured rate of a matrix product in this
precision.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import etl
import numpy as np
import torch
from plain import PLAIN_BATCH, PlainPairs, plain
from timing import seconds
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader
from torch.utils.flop_counter import flop_registry

from handwriting.characters.classes import class_list
from handwriting.config import Config
from handwriting.corpus import generation as generation_module
from handwriting.corpus.bank import ImageBank, Mixture
from handwriting.corpus.corpus import Corpus, open_corpus
from handwriting.corpus.generation import GenerateFn, ImageRequest, Prepare
from handwriting.images.augment import Classical
from handwriting.images.canonical import canonical
from handwriting.images.sheets import save_png
from handwriting.networks.optimizer import MovingAverage
from handwriting.rng import Rng
from handwriting.runs.run import Run
from handwriting.runs.runtime import Runtime, precision_of
from handwriting.runs.weights import Weights
from handwriting.script import compose
from handwriting.sources.fonts import find_fonts
from handwriting.sources.glyphs import render_font
from handwriting.sources.simulated_writers import simulate
from training_cdiffusion_model import (
    generate_images as generate_cdiffusion,
    train as train_cdiffusion,
)
from training_cdiffusion_model.train import StyleFeed
from training_character_classification import train as train_classifier
from training_clip import train_clip, train_image_encoder, train_text_encoder
from training_dcgan import generate_images as generate_dcgan, train as train_dcgan
from training_style_transfer import (
    generate_images as generate_style_transfer,
    train as train_style_transfer,
)
from training_style_transfer.feed import PairFeed
from training_vae import generate_images as generate_vae, train as train_vae

PARTS = ("machine", "feed", "preparation", "training", "generation", "paper", "demo")
# Batch sizes that one core finishes in about a second.
SIZES = [
    "data.characters=demo", "runtime.num_threads=1", "step_type=step1",
    "style_transfer.batch_size=16", "cdiffusion.batch_size=16", "dcgan.batch_size=32",
    "vae.batch_size=32", "clip.batch_size=64", "image_encoder.batch_size=64",
    "text_encoder.batch_size=64", "classifier.batch_size=64",
]  # fmt: skip
# The network of experiment=paper; all other sizes are this study's.
PAPER = [
    "style_transfer.dim=64", "style_transfer.dim_mults=[1,2,4,8]", "style_transfer.num_blocks=2",
    "style_transfer.patch_px=1", "style_transfer.full_attention=true",
    "style_transfer.discriminator_dim=64", "style_transfer.batch_size=4",
]  # fmt: skip
STAGES: dict[str, Any] = {
    "image_encoder": train_image_encoder,
    "text_encoder": train_text_encoder,
    "clip": train_clip,
    "style_transfer": train_style_transfer,
    "dcgan": train_dcgan,
    "vae": train_vae,
    "cdiffusion": train_cdiffusion,
    "classifier": train_classifier,
}
GENERATORS: dict[str, Any] = {
    "style_transfer": generate_style_transfer,
    "dcgan": generate_dcgan,
    "vae": generate_vae,
    "cdiffusion": generate_cdiffusion,
}
WARM_UP = 2  # steps that are not timed
STEPS = 5  # steps that are timed


@dataclass
class Row:
    """One line of the table: a rate compared with the plain side's.

    Attributes:
        what: was done.
        rate, plain: of the unit a second; no plain side is None.
        unit: what is counted.
        shares: of a training step's time.
        of_peak: multiplications and additions per second relative to a matrix product's.
    """

    what: str
    rate: float
    unit: str
    plain: float | None = None
    shares: dict[str, float] | None = None
    of_peak: float | None = None

    def __str__(self) -> str:
        plain, ratio = (
            (f"{self.plain:,.1f}", f"{self.rate / self.plain:.1f}") if self.plain else ("", "")
        )
        shares = " ".join(f"{share:.1%}" for share in (self.shares or {}).values())
        peak = f"{self.of_peak:.0%}" if self.of_peak else ""
        cells = (self.what, f"{self.rate:,.1f} {self.unit}", plain, ratio, shares, peak)
        return "| " + " | ".join(cells) + " |"


@dataclass(frozen=True)
class Bench:
    """What all parts share.

    Attributes:
        overrides: of the study.
        folder: for files, removed in the end.
        rounds: of both sides, in turns.
        on_gpu: whether the study is.
        peak: float operations a second of a matrix product.
    """

    overrides: list[str]
    folder: Path
    rounds: int
    on_gpu: bool = False
    peak: float = 0.0

    def config(self, *more: str) -> Config:
        """The study with the sizes of this benchmark, the command line's overrides, and others.

        Runs go to a folder of their own, so that nothing is skipped.
        """
        runs = tempfile.mkdtemp(dir=self.folder)
        own = [f"runs_dir={runs}", f"cache_dir={self.folder / 'cache'}"]
        return compose([*own, *SIZES, *self.overrides, *more])

    def clock(self) -> float:
        """The time in seconds; on a GPU, after synchronising."""
        if not self.on_gpu:
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()


# Machine, feed, preparation ----------------------------------------------------------------------


def machine(bench: Bench) -> tuple[float, float]:
    """Floating-point operations per second of a matrix product; bytes per second of a copy."""
    runtime = bench.config().runtime
    device, side, num_bytes = (
        torch.device(runtime.device),
        *((8192, 2**28) if bench.on_gpu else (1024, 2**26)),
    )
    dtype = torch.bfloat16 if precision_of(runtime) == "bf16" else torch.float32
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    large = torch.zeros(num_bytes, device=device, dtype=torch.uint8)
    product = seconds(lambda: left @ right, 15, bench.clock)
    copy = seconds(lambda: large.clone(), 15, bench.clock)
    return 2 * side**3 / product, 2 * num_bytes / copy


def feed(bench: Bench) -> Iterator[Row]:
    """Pairs per second of the generator's feed, and of per-sample loaders of the same images."""
    config = bench.config()
    corpus, device = open_corpus(config), torch.device(config.runtime.device)
    images = PairFeed(
        corpus, config.fonts.reference, config.style_transfer, device, Path(config.cache_dir)
    )
    rng, size, rates = Rng(0, device), 64, {}
    for choice in ("same", "any"):
        config.style_transfer.style_character = choice
        rates[choice] = size / seconds(
            lambda: images.draw("step_end", size, rng), 20 * bench.rounds, bench.clock
        )
    paths = []
    for i, image in enumerate(corpus.train.images[:500]):
        paths.append(bench.folder / "files" / f"{i}.png")
        save_png(paths[-1], image, flush=False)
    for size_px, channels in ((config.size_px, "L"), (256, "RGB")):
        loader = DataLoader(PlainPairs(paths, size_px, channels), PLAIN_BATCH)
        rate = PLAIN_BATCH / seconds(lambda: list(loader), 3 * bench.rounds, time.process_time)  # noqa: B023
        name = f"compared with {size_px} px, {len(channels)} channel{'s'[: len(channels) - 1]}"
        yield Row(f"content, style as target, {name}", rates["same"], "pairs/s", rate)
    yield Row("content, style and target", rates["any"], "triples/s")
    augment, bank = Classical(), ImageBank(corpus.train, device)
    drawn = bank.take(bank.draw(size, rng))
    rate = size / seconds(lambda: augment(drawn, rng), 20 * bench.rounds, bench.clock)
    yield Row("classical augmentation", rate, "images/s")


def preparation(bench: Bench) -> Iterator[Row]:
    """How raw material becomes packed images, on one CPU core."""
    size_px, clock, characters = bench.config().size_px, time.process_time, class_list("all")[::6]
    drawn = np.concatenate([*simulate(characters, 1, 1, 0, 112).images])
    for what, work in (
        ("canonical form of 112 px scans", lambda: [canonical(i, size_px) for i in drawn]),
        ("font rendering", lambda: render_font(find_fonts()[0], characters, size_px)),
        ("simulated writers", lambda: [*simulate(characters, 1, 1, 0, size_px).images]),
    ):
        yield Row(what, len(characters) / seconds(work, bench.rounds, clock), "images/s")
    for name, rates in etl.all_rates(bench.folder, bench.rounds):
        yield Row(f"{name}, decoded images", rates["images"], "records/s", rates["plain images"])


# Training ----------------------------------------------------------------------------------------


class Flops(TorchDispatchMode):
    """Counts the multiplications and additions of everything that runs inside."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if formula := flop_registry.get(func._overloadpacket):
            self.count += formula(*args, **(kwargs or {}), out_val=out)
        return out


def quietly(main: Callable[[Config], Path], config: Config) -> Path:
    """Run a stage without its output."""
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        return main(config)


def limit(stage: str, config: Config, num_steps: int) -> None:
    """Make a stage take a number of steps, with samples only after the last."""
    settings = getattr(config, stage)
    settings.num_steps = {"step1": num_steps} if stage == "style_transfer" else num_steps
    if hasattr(settings, "sample_every"):
        settings.sample_every = num_steps


def train(
    bench: Bench, stage: str, config: Config, around: Callable[[], Any] = ExitStack
) -> list[float]:
    """Run a stage's own script; the seconds of each step except the first ones and the last.

    Args:
        around: a context entered anew for each of those steps.
    """
    original, times = Run.steps, []
    num_steps = WARM_UP + STEPS + 1  # the last one makes samples
    limit(stage, config, num_steps)

    def steps(self: Run, *arguments: Any) -> Iterator[int]:
        for step in original(self, *arguments):
            with around() if WARM_UP < step < num_steps else ExitStack():
                started = bench.clock()
                yield step
                times.append(bench.clock() - started)

    with patch.object(Run, "steps", steps):
        quietly(STAGES[stage].main, config)
    return times[WARM_UP:-1]


def shares(bench: Bench, stage: str, config: Config) -> dict[str, float]:
    """The parts of a step's time: data, forward, backward, optimizer (with weight averaging)."""
    spent: dict[str, float] = defaultdict(float)
    inside: list[str] = []

    def timed(kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def work(*arguments: Any, **more: Any) -> Any:
            if inside:  # nested in a part that is being timed
                return function(*arguments, **more)
            inside.append(kind)
            started = bench.clock()
            try:
                return function(*arguments, **more)
            finally:
                spent[kind] += bench.clock() - started
                inside.pop()

        return work

    functions: list[tuple[str, Any, str]] = [
        ("data", PairFeed, "draw"), ("data", StyleFeed, "draw"), ("data", Mixture, "draw"),
        ("data", Mixture, "draw_labels"), ("data", ImageBank, "draw"), ("data", ImageBank, "take"),
        ("augmentation", Classical, "__call__"),
        ("backward", torch.autograd, "backward"), ("backward", torch.autograd, "grad"),
        ("optimizer", MovingAverage, "update_parameters"),
    ]  # fmt: skip

    def begin(*_: object) -> None:
        spent["optimizer"] -= bench.clock()

    def end(*_: object) -> None:
        spent["optimizer"] += bench.clock()

    @contextmanager
    def step() -> Iterator[None]:
        with ExitStack() as stack:
            for hook in (register_optimizer_step_pre_hook(begin),
                         register_optimizer_step_post_hook(end)):  # fmt: skip
                stack.callback(hook.remove)
            for kind, of, name in functions:
                stack.enter_context(patch.object(of, name, timed(kind, getattr(of, name))))
            yield

    total = sum(train(bench, stage, config, step))
    kinds = {kind: spent[kind] / total for kind in ("data", "augmentation")}
    rest = {kind: spent[kind] / total for kind in ("backward", "optimizer")}
    return {**kinds, "forward": 1 - sum(kinds.values()) - sum(rest.values()), **rest}


def training(bench: Bench, only: list[str]) -> Iterator[Row]:
    """A training step of every stage, compared with a plain one."""
    weights = first_weights(bench)
    for stage in only:
        sides: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(bench.rounds):
            for is_plain, times in sides.items():
                with plain() if is_plain else ExitStack():
                    times += train(bench, stage, bench.config(*weights))
        quick, slow = (statistics.median(times) for times in sides.values())
        counter = Flops()
        train(bench, stage, bench.config(*weights), lambda: counter)  # noqa: B023
        batch_size = getattr(bench.config(), stage).batch_size
        yield Row(
            f"training {stage}, batch {batch_size}", batch_size / quick, "images/s",
            batch_size / slow, shares(bench, stage, bench.config(*weights)),
            counter.count / STEPS / quick / bench.peak,
        )  # fmt: skip


def first_weights(bench: Bench) -> list[str]:
    """Overrides that give the weights of encoders trained for a few steps."""
    config = bench.config()
    for stage in ("image_encoder", "text_encoder", "clip"):
        limit(stage, config, 2)
        quietly(STAGES[stage].main, config)
    folder = Path(config.runs_dir) / config.name
    names = (("image", "image_encoder"), ("text", "text_encoder"), ("clip", "clip"))
    return [f"{short}_weight={folder / name}" for short, name in names]


# Generation --------------------------------------------------------------------------------------


def maker(stage: str, config: Config) -> tuple[GenerateFn, Corpus]:
    """The function that makes a batch of images in a generator's own script."""
    found: list[GenerateFn] = []

    def caught(config: Config, _: str, __: Weights, prepare: Prepare, **___: Any) -> Path:
        corpus = open_corpus(config)
        found.append(prepare(corpus, corpus.characters, Runtime(config.runtime))[0])
        return Path()

    script = GENERATORS[stage]
    with patch.object(
        script if hasattr(script, "generate") else generation_module, "generate", caught
    ):
        quietly(script.main, config)
    return found[0], open_corpus(config)


def wanted(corpus: Corpus, count: int, round_: int) -> list[ImageRequest]:
    """A batch as it occurs when 100 images of each character are generated in order."""
    found = []
    for number in range(round_ * count, (round_ + 1) * count):
        label = number // 100 % len(corpus.characters)
        found.append(ImageRequest(corpus.characters[label], label, np.random.default_rng(number)))
    return found


def trained(bench: Bench, stage: str, *more: str) -> list[str]:
    """Overrides that give a generator trained for one step."""
    config = bench.config(*more, *first_weights(bench))
    limit(stage, config, 1)
    return [*more, f"gen_weight={quietly(STAGES[stage].main, config)}"]


def generation_rate(
    bench: Bench, make: GenerateFn, corpus: Corpus, batch_size: int, images: int
) -> float:
    """Images per second after the first batch; each round makes different ones."""
    make(wanted(corpus, batch_size, 0))
    started = bench.clock()
    num_batches = max(1, images // batch_size)
    for round_ in range(num_batches):
        make(wanted(corpus, batch_size, round_ + 1))
    return num_batches * batch_size / (bench.clock() - started)


def generation(bench: Bench, only: list[str]) -> Iterator[Row]:
    """Images per second of each generator by batch size, and one by one in the plain way."""
    for stage in only:
        overrides = trained(bench, stage)
        rates: dict[int, list[float]] = defaultdict(list)
        make, corpus = maker(stage, bench.config(*overrides))
        with plain():
            plain_make, _ = maker(stage, bench.config(*overrides))
        for _ in range(bench.rounds):
            with plain():
                rates[0].append(generation_rate(bench, plain_make, corpus, 1, 16))
            for size in (1, 16, 128):
                rates[size].append(generation_rate(bench, make, corpus, size, max(16, size)))
        for size in (1, 16, 128):
            yield Row(
                f"generating {stage}, batch {size}", statistics.median(rates[size]), "images/s",
                statistics.median(rates[0]),
            )  # fmt: skip


def paper(bench: Bench) -> Iterator[Row]:
    """The default style-transfer network compared with the paper's, at one image size."""
    weights = first_weights(bench)
    steps: list[float] = []
    for more in ([], PAPER):
        config = bench.config(*weights, *more)
        batch_size = config.style_transfer.batch_size
        steps.append(batch_size / statistics.median(train(bench, "style_transfer", config)))
    yield Row(
        "training the default network, compared with the paper's", steps[0], "images/s", steps[1]
    )
    rates = []
    for more, size in (([], 64), (PAPER, 4)):
        make, corpus = maker(
            "style_transfer", bench.config(*trained(bench, "style_transfer", *more))
        )
        rates.append(generation_rate(bench, make, corpus, size, max(16, size)))
    yield Row(
        "generating with the default network, compared with the paper's",
        rates[0],
        "images/s",
        rates[1],
    )


def demo(bench: Bench) -> Iterator[Row]:
    """The wall-clock time of the whole demo."""
    import pipeline

    started = time.perf_counter()
    pipeline.main(compose(["experiment=demo", f"runs_dir={bench.folder}/demo"]))
    yield Row("demo, end to end", 60 / (time.perf_counter() - started), "a minute")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS[:-1])
    parser.add_argument("--stages", nargs="+", choices=list(STAGES), default=list(STAGES))
    parser.add_argument("--rounds", type=int, default=3, help="of both sides, alternating")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("overrides", nargs="*", help="of the study, such as size_px=32")
    given = parser.parse_intermixed_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(given.overrides, Path(name), given.rounds)
        bench = replace(bench, on_gpu=bench.config().runtime.device == "cuda")
        peak, copied = machine(bench)
        bench = replace(bench, peak=peak)
        print(f"matrix product {peak / 1e9:,.0f} GFLOP/s, copy {copied / 1e9:,.1f} GB/s")
        print("| | | plain | ratio | data, augmentation, forward, backward, optimizer | of peak |")
        print("|---|---|---|---|---|---|", flush=True)
        generators = [stage for stage in given.stages if stage in GENERATORS]
        parts: dict[str, Callable[[], Iterator[Row]]] = {
            "feed": lambda: feed(bench),
            "preparation": lambda: preparation(bench),
            "training": lambda: training(bench, given.stages),
            "generation": lambda: generation(bench, generators),
            "paper": lambda: paper(bench),
            "demo": lambda: demo(bench),
        }
        rows = []
        for part, measure in parts.items():
            if part in given.parts:
                for row in measure():
                    rows.append(row)
                    print(row, flush=True)
        if given.json:
            facts = {"matrix_product_flops": peak, "copy_bytes_per_s": copied,
                     "torch": torch.__version__, "overrides": given.overrides}  # fmt: skip
            given.json.write_text(
                json.dumps({**facts, "rows": [asdict(r) for r in rows]}, indent=1)
            )


if __name__ == "__main__":
    main()
