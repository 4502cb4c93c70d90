"""The study's configuration: every key with its type and its default.

``conf/`` holds what differs from these defaults, and what is chosen for each study; ``MISSING`` is
what a study must choose. All scripts compose the same study, so that an override or an experiment
means the same to each of them; a script reads the sections that it needs. A misspelt key, a wrong
type or an unknown choice stops at composition and is named.
"""

# ruff: noqa: RUF009 (`default` is a field)
from copy import deepcopy
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any, TypeVar

from omegaconf import II, MISSING

PACKAGED_FONTS = ("pylopdf-fonts-jp", "matplotlib-fontja", "noto-cjk-sans-jp-bold")
Value = TypeVar("Value")


def default(value: Value) -> Value:
    """A list or dict as the default of a key."""
    return field(default_factory=lambda: deepcopy(value))


class ModelMode(Enum):
    """What conditions the generator besides the content and style images."""

    adain = "adain"  # nothing
    adain_mlp = "adain_mlp"  # a learned embedding of the class
    adain_clip = "adain_clip"  # the frozen CLIP text embedding of the character's components


class StepType(Enum):
    """The training steps of a generator, each starting from the last one's weights."""

    step1 = "step1"
    step2 = "step2"
    step3 = "step3"
    step_end = "step_end"
    all = "all"  # the four in order


class ClipTargets(StrEnum):
    """What CLIP takes as right in a batch."""

    character = "character"  # same character, same target
    similarity = "similarity"  # soft (paper)


class StyleCharacter(StrEnum):
    """Which character a style image shows."""

    same = "same"  # the target itself (paper)
    any = "any"  # another by that writer


class Condition(StrEnum):
    """What tells the diffusion model which character to draw."""

    character = "character"  # a learned embedding of the class
    text = "text"  # the frozen CLIP text embedding of its components


@dataclass
class Data:
    """Handwriting, split by writer: the keys that every reader has.

    Each reader in ``handwriting/corpus/readers/`` adds its own; ``data=`` chooses one of them.
    """

    num_simulated_writers: int = 0  # beside real ones; never tested on
    unseen_characters: int = 0  # kanji kept from encoders and generators (zero-shot)
    split_seed: int = II("seed")
    rotation: int = 0  # turns the order of people, so that all are tested in turn
    people: int | None = None  # of the training writers, so many are used; null: all


@dataclass
class Fonts:
    """Where fonts come from; a font counts as one more writer."""

    packages: list[str] = default([*PACKAGED_FONTS])
    folders: list[str] = default([])
    list_file: str | None = None
    system: bool = False
    reference: str = "Noto Sans JP"  # part of the name of the content font of step1 and generation
    min_coverage: float = 0.9  # share of the classes that a font must have


@dataclass
class Structure:
    """The text of a character: its components."""

    path: str | None = None  # the user's JSON; null: KanjiVG
    context_length: int = 24  # tokens of a sequence with its start and end


@dataclass
class Training:
    """What every training loop needs."""

    num_steps: int = MISSING
    batch_size: int = MISSING
    learning_rate: float = MISSING


@dataclass
class ImageEncoder(Training):
    num_steps: int = 4000
    batch_size: int = 256
    learning_rate: float = 2e-3
    network: str = "small_resnet"  # or a timm name
    width: int = 32


@dataclass
class TextEncoder(Training):
    num_steps: int = 1000
    batch_size: int = 128
    learning_rate: float = 1e-3
    width: int = 128
    heads: int = 4
    layers: int = 3


@dataclass
class Clip(Training):
    num_steps: int = 2000
    batch_size: int = 256
    learning_rate: float = 5e-4
    embedding_dim: int = 128
    targets: ClipTargets = ClipTargets.character
    learn_temperature: bool = True


@dataclass
class StyleTransfer:
    dim: int = 32  # channels at full resolution
    dim_mults: list[int] = default([1, 2, 4, 8])  # of dim, per level
    num_blocks: int = 1  # residual blocks per level
    patch_px: int = 2  # pixels per side that the stem folds into channels
    full_attention: bool = False  # linear attention at every level (paper) or in the middle only
    gradient_checkpointing: bool = False  # less memory for a third more time: large images
    discriminator_dim: int = 32
    discriminator_layers: int = 3
    num_steps: dict[str, int] = default(  # per step_type
        {"step1": 2000, "step2": 2000, "step3": 2000, "step_end": 14000}
    )
    batch_size: int = 64
    learning_rate: float = 1e-3
    discriminator_learning_rate: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.9)
    style_character: StyleCharacter = StyleCharacter.any
    condition_dropout: float = 0.1  # how often the class is replaced by the null embedding
    max_angle: float = 15.0  # degrees
    weights: dict[str, float] = default(  # of the terms of the objective
        {"reconstruction": 1.0, "perceptual": 1.0, "style": 0.1, "clip": 0.1, "adversarial": 0.8}
    )
    ema_decay: float = 0.995
    num_samples: int = 10  # characters on a sample sheet
    sample_every: int = 1000


@dataclass
class GeneratorTraining(Training):
    """What the generators that learn from one mixture of sources have in common."""

    batch_size: int = 128
    shares: dict[str, float] = default({"writers": 0.4, "fonts": 0.2, "simulated": 0.4})
    num_samples: int = 10  # characters on a sample sheet
    sample_every: int = 1000


@dataclass
class CDiffusion(GeneratorTraining):
    num_steps: int = 20000
    learning_rate: float = 1e-3
    condition: Condition = Condition.character
    dim: int = 64  # channels of the first level, at half the image's size
    dim_mults: list[int] = default([1, 2, 4])  # of dim, per level
    num_blocks: int = 2  # per level
    num_style_images: int = 2  # by one hand, whose style is their mean
    condition_dropout: float = 0.1  # how often the null condition is trained
    ema_decay: float = 0.995
    start: str | None = None  # weights to start from; null: random ones
    # Of the network, for one image; chosen by measurement: training_cdiffusion_model/README.md
    num_evaluations: int = 4
    guidance: float = 1.5  # 1: none


@dataclass
class Dcgan(GeneratorTraining):
    num_steps: int = 20000
    learning_rate: float = 4e-4
    discriminator_learning_rate: float = 4e-4
    class_conditional: bool = True  # without, it cannot label what it makes
    z_dim: int = 100
    dim: int = 64  # channels at half the image's side, twice as many at a quarter
    discriminator_dim: int = 64  # likewise
    betas: tuple[float, float] = (0.5, 0.999)
    ema_decay: float = 0.995
    sample_every: int = 500


@dataclass
class Vae(GeneratorTraining):
    num_steps: int = 10000
    learning_rate: float = 2e-3
    class_conditional: bool = True  # without, it cannot label what it makes
    num_latents: int = 12
    dim: int = 64  # channels at half the image's side, up to four times as many at an eighth
    dropout: float = 0.1


@dataclass
class Generation:
    num_per_character: int = 100
    characters: str | None = None  # null: the study's
    contents: list[str] = default(["fonts", "writers"])  # or simulated
    content_names: list[str] = default([])  # parts of names among them; empty: all
    styles: list[str] = default(["writers"])  # the training ones
    style_names: list[str] = default([])
    num_hands: int = 1  # whose styles are mixed in one image: 2 for hands between hands
    batch_size: int = 128
    output: str | None = None  # null: in the run folder of the generator


@dataclass
class CharacterClassification(Training):
    num_steps: int = 4000
    batch_size: int = 128
    learning_rate: float = 2e-3
    network: str = "small_resnet"
    width: int = 32
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    name: str | None = None  # of the arm; null: made from what it sees
    splits: list[str] = default(["train"])  # whose handwriting; the judge takes others
    use_real: bool = True
    use_fonts: bool = False
    use_simulated: bool = False  # the simulated hands beside real ones


@dataclass
class Recipe:
    """How a recogniser uses generated images."""

    by_confusion: bool = False  # more images of what the control confuses in validation


@dataclass
class Evaluation:
    recognisers: list[str] = default([])  # run folders or weights; empty: all
    manifest: str | None = None  # images to read instead of the test writers'
    judge_steps: int = 8000  # the judge is trained for longer than an arm
    num_confusions: int = 10


@dataclass
class Pipeline:
    generators: list[str] = MISSING  # of generators.py
    seeds: list[int] = default([0, 1, 2])
    augmentations: list[bool] = default([False, True])  # each arm without and with classical
    arms: list[str] | None = None  # such as real+vae+classical; null: all of the above
    control: str | None = None  # that gains are over; null: real+fonts+classical or most sources
    num_workers: int = 1  # processes that train generators, then classifiers, side by side


@dataclass
class Evidence:
    """The grid of the experiment: arms x people x seeds, each cell a study of its own."""

    arms: list[str] = MISSING  # such as real+fonts+cdiffusion+classical
    control: str = MISSING  # the arm that a claim must beat; with all people it is the ceiling
    people: list[int] = default([1, 2, 5])  # training people, who wrote one of each class
    seeds: list[int] = default([0, 1, 2, 3, 4])  # which people are tested, and all that is random
    # Of diffusion that learnt fonts and simulated hands; null: each cell trains from nothing.
    adaptation: Training | None = None
    recipe_arm: str = MISSING  # that the recipes vary
    recipe_people: list[int] = default([1])
    recipes: dict[str, dict[str, Any]] = default({})  # name -> fields of `recipe`, and gen_ratio


@dataclass
class Runtime:
    device: str = "cpu"  # or cuda
    precision: str = "auto"  # bf16 where the processor computes in it, else no (float32)
    num_threads: int = 0  # 0: as many as torch finds
    checkpoint_every_s: float = 60.0
    compile: bool = False  # blocks with torch.compile: minutes at first; needs a C++ compiler


@dataclass
class Config:
    """A whole study."""

    name: str = MISSING  # runs go to runs_dir/name
    seed: int = 0
    size_px: int = MISSING
    runs_dir: str = MISSING
    cache_dir: str = MISSING
    tracking: str = "disabled"  # or offline or online, by wandb: handwriting/runs/tracking.py

    model_mode: ModelMode = ModelMode.adain_clip
    step_type: StepType = StepType.all
    aug: bool = True  # classical augmentation of encoder and classifier training
    use_gen: Any = ""  # or a manifest or a list of manifests of generated images
    gen_ratio: float = 0.5  # share of a batch that is not real
    image_weight: str | None = None  # weights: null takes those of this study's run folders
    text_weight: str | None = None
    clip_weight: str | None = None
    gen_weight: str | None = None
    disc_weight: str | None = None

    data: Data = MISSING
    fonts: Fonts = field(default_factory=Fonts)
    structure: Structure = field(default_factory=Structure)
    image_encoder: ImageEncoder = field(default_factory=ImageEncoder)
    text_encoder: TextEncoder = field(default_factory=TextEncoder)
    clip: Clip = field(default_factory=Clip)
    style_transfer: StyleTransfer = field(default_factory=StyleTransfer)
    dcgan: Dcgan = field(default_factory=Dcgan)
    vae: Vae = field(default_factory=Vae)
    cdiffusion: CDiffusion = field(default_factory=CDiffusion)
    generation: Generation = field(default_factory=Generation)
    classifier: CharacterClassification = field(default_factory=CharacterClassification)
    recipe: Recipe = field(default_factory=Recipe)
    evaluation: Evaluation = field(default_factory=Evaluation)
    pipeline: Pipeline = field(default_factory=Pipeline)
    evidence: Evidence = field(default_factory=Evidence)
    runtime: Runtime = field(default_factory=Runtime)
