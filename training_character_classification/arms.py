"""The arms of the experiment: what a recogniser sees, and what it is called by that."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from handwriting.config import Config, GeneratorName
from handwriting.corpus.corpus import Corpus
from handwriting.errors import InputError, report_problems
from handwriting.images.manifest import UNKNOWN_WRITER, Manifest, read_manifest
from handwriting.images.packed import PackedImages, concatenate, pack_manifest
from handwriting.runs.run import run_folder

JUDGE = "judge"  # reads test writers in training: it judges generated images, and is no arm
CONTROL_WORDS = frozenset({"real", "fonts", "simulated", "classical"})  # what a control may see


def generated_manifests(use_gen: object) -> list[Path]:
    """The manifests that ``use_gen`` names.

    Raises:
        InputError: neither "" nor a path nor a list of paths.
    """
    if isinstance(use_gen, str):
        return [Path(use_gen)] if use_gen else []
    if isinstance(use_gen, list) and all(isinstance(item, str) for item in use_gen):
        return [Path(item) for item in use_gen]
    raise InputError(f'use_gen={use_gen!r}: expected "", a manifest or [a list, of manifests]')


def arm_name(config: Config) -> str:
    """What an arm sees, such as ``real+fonts+classical``."""
    settings = config.classifier
    if settings.name:
        return settings.name
    parts = ["real"] if settings.use_real else []
    parts += ["fonts"] if settings.use_fonts else []
    parts += ["simulated"] if settings.use_simulated else []
    # A generated manifest is named by its folder: generated/adain_clip/manifest.json.
    parts += [path.absolute().parent.name for path in generated_manifests(config.use_gen)]
    return "+".join(parts + (["classical"] if config.aug else []))


def arm_config(config: Config, name: str) -> Config:
    """The configuration of the arm that a name such as ``real+fonts+vae+classical`` describes.

    A generator's name stands for the study's own images by it. :func:`arm_name` is the inverse.

    Raises:
        InputError: an unknown word, words in another order or twice, or nothing to train on.
    """
    words = name.split("+")
    known = {*CONTROL_WORDS, *GeneratorName}
    if words == ["classical"] or len(set(words)) < len(words) or not known.issuperset(words):
        raise InputError(
            f"arm {name!r}: expected one or more of real, fonts, simulated, "
            f"{', '.join(GeneratorName)}, then classical or not, each once and joined by +"
        )
    settings = replace(
        config.classifier, name=None, splits=["train"], use_real="real" in words,
        use_fonts="fonts" in words, use_simulated="simulated" in words,
    )  # fmt: skip
    folder = run_folder(config) / "generated"
    generators = [word for word in words if word not in CONTROL_WORDS]
    use_gen = [str(folder / generator / "manifest.json") for generator in generators]
    arm = replace(config, classifier=settings, use_gen=use_gen, aug="classical" in words)
    if arm_name(arm) != name:
        raise InputError(f"arm {name!r}: in the order of {arm_name(arm)!r}")
    return arm


def control_name(named: str | None, controls: Sequence[str]) -> str:
    """The control that a study's gains are over, decided before any result.

    Args:
        named: ``pipeline.control``; None takes real+fonts+classical, else the most sources.
        controls: the study's arms without generated images.

    Raises:
        InputError: none, or the named one is not among them.
    """
    usual = "real+fonts+classical"
    most = max(controls, key=lambda name: name.count("+"), default=None)
    chosen = named or (usual if usual in controls else most)
    if chosen is None or chosen not in controls:
        raise InputError(
            f"pipeline.control={named}: expected an arm of the study without generated images "
            f"(there are: {', '.join(controls) or 'none'})"
        )
    return chosen


def held_out(corpus: Corpus) -> set[str]:
    """The names of everybody who validates or tests; of an image by nobody known there is none."""
    names = {*corpus.validation.present_writers(), *corpus.test.present_writers()}
    return names - {UNKNOWN_WRITER}


def read_generated(config: Config, corpus: Corpus) -> list[Manifest]:
    """The manifests of ``use_gen``, checked to be in nobody's hand who is tested.

    Raises:
        InputError: a manifest that cannot be used, or a test writer's style in it.
    """
    manifests = [
        read_manifest(path, corpus.characters) for path in generated_manifests(config.use_gen)
    ]
    tested = held_out(corpus)
    problems = [
        f"{manifest.path}: in the hand of {writer}, who is tested"
        for manifest in manifests
        for writer in manifest.writers
        if writer in tested
    ]
    report_problems("use_gen", problems, "Generate in the hands of training writers and fonts.")
    return manifests


def judge_arm(config: Config) -> Config:
    """The configuration that trains the judge: on the writers that no generator sees.

    A quarter of its batches is theirs, the rest fonts and simulated hands: people it never met
    are read better so than with half (96 % for 94-95 % of katakana).
    """
    settings = replace(
        config.classifier,
        name=JUDGE,
        num_steps=config.evaluation.judge_steps,
        splits=["validation", "test"],
        use_real=True,
        use_fonts=True,
        use_simulated=config.data.num_simulated_writers > 0,
    )
    return replace(config, classifier=settings, aug=True, use_gen="", gen_ratio=0.75)


def training_sources(
    config: Config, corpus: Corpus, manifests: list[Manifest]
) -> list[PackedImages]:
    """What an arm trains on, real images first.

    Raises:
        InputError: nothing at all, or simulated writers where the study has none.
    """
    settings = config.classifier
    sources = []
    if settings.use_real:
        splits = {"train": corpus.train, "validation": corpus.validation, "test": corpus.test}
        unknown = [name for name in settings.splits if name not in splits]
        if unknown or not settings.splits:
            raise InputError(f"classifier.splits={settings.splits}: from train, validation, test")
        sources.append(concatenate([splits[name] for name in settings.splits]))
    if settings.use_fonts:
        sources.append(corpus.fonts)
    if settings.use_simulated:
        if corpus.simulated is None:
            raise InputError(
                "classifier.use_simulated: this study has none (data.num_simulated_writers)"
            )
        sources.append(corpus.simulated)
    for manifest in manifests:
        packed = pack_manifest(manifest, config.size_px, Path(config.cache_dir).absolute())
        sources.append(packed.of(corpus.characters))
    if not sources:
        raise InputError("nothing to train on: use_real, use_fonts, use_simulated or use_gen")
    return sources


def batch_shares(batch_size: int, ratio: float, first_is_real: bool, num_sources: int) -> list[int]:
    """How many images of a batch each source gives; they sum to ``batch_size``.

    Raises:
        InputError: a ratio outside 0 to 1.
    """
    if not 0 <= ratio <= 1:
        raise InputError(f"gen_ratio={ratio}: expected a share from 0 to 1")
    num_others = num_sources - first_is_real
    others = (round(batch_size * ratio) if first_is_real else batch_size) if num_others else 0
    shares = [others // num_others + (i < others % num_others) for i in range(num_others)]
    return [batch_size - others, *shares] if first_is_real else shares
