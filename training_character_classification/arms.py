"""The arms of the experiment: what a recogniser sees in training, and the name made of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from handwriting.config import Config, Evidence, Share
from handwriting.corpus.audit import check_new, held_out, writers_seen
from handwriting.corpus.corpus import Corpus, check_new_images
from handwriting.errors import InputError, report_problems
from handwriting.images.manifest import Manifest, read_manifest
from handwriting.images.packed import PackedImages, concatenate, pack_manifest
from handwriting.ranges import problems
from handwriting.runs.folder import run_folder

JUDGE = "judge"  # not an arm: it is trained on test writers, to judge generated images
CONTROL_SOURCES = ("real", "fonts", "simulated")  # those not made by a trained generator
RESERVED = (*CONTROL_SOURCES, "classical", JUDGE)  # names that no generator may have


@dataclass(frozen=True, order=True)
class Arm:
    """What a recogniser sees in training, such as ``real+fonts+vae+classical@by_confusion``.

    An arm without images by a trained generator is a control. Simulated writers learn nothing from
    people, so an arm that sees them is a control too, unless the evidence names it beforehand.

    Attributes:
        sources: of its images: real, fonts, simulated, then generators, in the name's order.
        is_augmented: whether classical augmentation is applied.
        recipe: the one of ``evidence.recipes`` by which it uses generated images; "" for none.
    """

    sources: tuple[str, ...]
    is_augmented: bool = False
    recipe: str = ""

    @classmethod
    def parse(cls, name: str) -> Self:
        """The arm of a name. Any word may be a generator; :func:`arm_config` checks them."""
        sees, _, recipe = name.partition("@")
        words = sees.split("+")
        is_augmented = words[-1] == "classical"
        return cls(tuple(words[:-1] if is_augmented else words), is_augmented, recipe)

    def __str__(self) -> str:
        sees = "+".join([*self.sources, *(["classical"] if self.is_augmented else [])])
        return f"{sees}@{self.recipe}" if self.recipe else sees

    @property
    def generators(self) -> tuple[str, ...]:
        """The trained generators whose images it sees."""
        return tuple(source for source in self.sources if source not in CONTROL_SOURCES)

    @property
    def is_control(self) -> bool:
        return not self.generators


def generated_manifests(use_gen: Any) -> list[Path]:
    """The manifests that ``use_gen`` names.

    Raises:
        InputError: it is neither "" nor a path nor a list of paths.
    """
    paths = use_gen if isinstance(use_gen, list) else [] if use_gen == "" else [use_gen]
    if not all(isinstance(path, str) for path in paths):
        raise InputError(f'use_gen={use_gen!r}: expected "", a manifest or [a list, of manifests]')
    return [Path(path) for path in paths]


def arm_of(config: Config) -> Arm:
    """The arm that a configuration trains: named by ``classifier.name``, or by what it sees."""
    settings = config.classifier
    if settings.name:
        return Arm.parse(settings.name)
    sources = [source for source in CONTROL_SOURCES if getattr(settings, f"use_{source}")]
    # A generated manifest is named by its folder: generated/adain_clip/manifest.json.
    made = [path.absolute().parent.name for path in generated_manifests(config.use_gen)]
    for name in made:
        if name in RESERVED or {*name} & {*"+@"}:
            raise InputError(
                "use_gen: a recogniser is named after the folders of its generated images, but "
                f"{name!r} would name another arm: set classifier.name"
            )
    sources += made
    return Arm(tuple(sources), config.aug)


def arm_config(config: Config, arm: Arm) -> Config:
    """The configuration that trains an arm; :func:`arm_of` is the inverse.

    A generator's name stands for its images in this study.

    Raises:
        InputError: the study lacks a source, sources are repeated or in another order, there is
            nothing to train on, or the recipe is unknown.
    """
    known = (*CONTROL_SOURCES, *config.pipeline.generators)
    if not arm.sources or arm.sources != tuple(name for name in known if name in arm.sources):
        raise InputError(
            f"arm {str(arm)!r}: expected one or more of {', '.join(known)} (pipeline.generators), "
            "in this order and each once, optionally followed by classical, joined by +"
        )
    real, fonts, simulated = (source in arm.sources for source in CONTROL_SOURCES)
    settings = replace(
        config.classifier, name=None, splits=["train"], use_real=real, use_fonts=fonts,
        use_simulated=simulated,
    )  # fmt: skip
    folder = run_folder(config) / "generated"
    use_gen = [str(folder / generator / "manifest.json") for generator in arm.generators]
    found = replace(config, classifier=settings, use_gen=use_gen, aug=arm.is_augmented)
    if not arm.recipe:
        return found
    recipes = config.evidence.recipes
    if arm.recipe not in recipes:
        names = ", ".join(recipes) or "none"
        raise InputError(f"arm {arm}: no such recipe in evidence.recipes (which has: {names})")
    fields = dict(recipes[arm.recipe])
    ratio = fields.pop("gen_ratio", config.gen_ratio)
    where = f"evidence.recipes.{arm.recipe}"
    report_problems(where, [*problems(ratio, Share, "gen_ratio")], "Choose another share.")
    try:
        merged = OmegaConf.merge(OmegaConf.structured(config.recipe), fields)
    except OmegaConfBaseException as error:
        raise InputError(f"{where}: {error}") from error
    recipe: Any = OmegaConf.to_object(merged)
    settings = replace(settings, name=str(arm))
    return replace(found, gen_ratio=ratio, recipe=recipe, classifier=settings)


def planned_arms(evidence: Evidence, people: int) -> list[Arm]:
    """The arms of the evidence with a number of people; recipes only if they are tried with it."""
    arms = [Arm.parse(name) for name in evidence.arms]
    if not evidence.named_arm or people not in evidence.recipe_people:
        return arms
    varied = Arm.parse(evidence.named_arm)
    return [*arms, *(replace(varied, recipe=recipe) for recipe in evidence.recipes)]


def choose_control(named: str | None, arms: Sequence[Arm]) -> Arm:
    """The control that a study's gains are over, decided before any result.

    Args:
        named: ``pipeline.control``; None takes real+fonts+classical, else the most sources.
        arms: of the study.

    Raises:
        InputError: there is no control, or the named one is not among the arms.
    """
    controls = [arm for arm in arms if arm.is_control]
    usual = Arm(("real", "fonts"), is_augmented=True)
    most = max(controls, key=lambda arm: (len(arm.sources), arm.is_augmented), default=None)
    chosen = Arm.parse(named) if named else usual if usual in controls else most
    if chosen is None or chosen not in controls:
        raise InputError(
            f"pipeline.control={named}: expected an arm of the study without generated images "
            f"(one of: {', '.join(map(str, controls)) or 'none'})"
        )
    return chosen


def read_generated(config: Config, corpus: Corpus, paths: Sequence[Path]) -> list[Manifest]:
    """Manifests of generated images, none of which derives from a validation or test writer.

    They must show all classes, or with ``data.partial`` some.

    Raises:
        InputError: a manifest cannot be used, or derives from a validation or test writer.
    """
    wanted = None if config.data.partial else corpus.characters
    manifests = [read_manifest(path, wanted) for path in paths]
    for manifest in manifests:
        check_new(manifest.path, writers_seen(manifest), held_out(corpus))
    return manifests


def judge_arm(config: Config) -> Config:
    """The configuration that trains the judge: on the writers that no generator sees.

    A quarter of each batch is theirs, the rest fonts and simulated writers: the judge then reads
    people it has never seen better than with half (96 % of katakana instead of 94 to 95 %).
    """
    settings = replace(
        config.classifier, name=JUDGE, num_steps=config.evaluation.judge_steps,
        splits=["validation", "test"], use_real=True, use_fonts=True,
        use_simulated=config.data.num_simulated_writers > 0,
    )  # fmt: skip
    return replace(config, classifier=settings, aug=True, use_gen="", gen_ratio=0.75)


def judge_of(config: Config, corpus: Corpus) -> Config:
    """The configuration of a recogniser; that of :func:`judge_arm` for one named ``JUDGE``.

    If nobody is held out, the judge is trained without people.
    """
    if config.classifier.name != JUDGE:
        return config
    config = judge_arm(config)
    settings = config.classifier
    if any(corpus.splits[name] for name in settings.splits):
        return config
    print(f"  no writers in {' or '.join(settings.splits)}: the judge is trained without them")
    return replace(config, classifier=replace(settings, use_real=False))


def training_sources(
    config: Config, corpus: Corpus, manifests: list[Manifest]
) -> list[PackedImages]:
    """What an arm trains on, real images first.

    Raises:
        InputError: there is nothing to train on, people or simulated writers are asked for and the
            study has none, or generated images are copies of a test writer's.
    """
    settings = config.classifier
    sources = []
    if settings.use_real:
        sources.append(concatenate([corpus.splits[name] for name in settings.splits]))
        if not sources[0]:
            raise InputError(
                f"classifier.splits={settings.splits}: no writers are in these splits. Set "
                "data.train_writers, data.validation_writers or data.test_writers above 0, or "
                "classifier.use_real=false"
            )
    if settings.use_fonts:
        sources.append(corpus.fonts)
    if settings.use_simulated:
        if corpus.simulated is None:
            raise InputError(
                "classifier.use_simulated=true, but there are no simulated writers: set "
                "data.num_simulated_writers above 0"
            )
        sources.append(corpus.simulated)
    for manifest in manifests:
        cache_dir = Path(config.cache_dir).absolute()
        generated = pack_manifest(manifest, config.size_px, cache_dir).of(corpus.characters)
        if not generated:
            raise InputError(f"{manifest.path} has no image of any of this study's characters")
        check_new_images(config, corpus, "generated", generated, manifest)
        sources.append(generated)
    if not sources:
        raise InputError(
            "nothing to train on: set classifier.use_real, classifier.use_fonts or "
            "classifier.use_simulated to true, or use_gen to a manifest"
        )
    return sources


def batch_shares(batch_size: int, ratio: float, first_is_real: bool, num_sources: int) -> list[int]:
    """How many images of a batch each source contributes; they sum to ``batch_size``."""
    num_others = num_sources - first_is_real
    others = (round(batch_size * ratio) if first_is_real else batch_size) if num_others else 0
    shares = [others // num_others + (i < others % num_others) for i in range(num_others)]
    return [batch_size - others, *shares] if first_is_real else shares
