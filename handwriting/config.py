"""The study's configuration: every key with its type and its default.

``conf/`` holds what differs from these defaults, and what is chosen for each study; ``MISSING`` is
what a study must choose. All scripts compose the same study, so that an override or an experiment
means the same to each of them; a script reads the sections that it needs. A misspelt key, a wrong
type, an unknown choice or a value out of its range stops at composition and is named, together with
the comment behind the field.
"""

# ruff: noqa: RUF009 (`default` is a field)
from copy import deepcopy
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Annotated, Any, TypeVar

from omegaconf import II, MISSING

from handwriting.ranges import FolderName, Items, Keys, OneOf, Within

PACKAGED_FONTS = ("pylopdf-fonts-jp", "matplotlib-fontja", "noto-cjk-sans-jp-bold")
Value = TypeVar("Value")

# What several fields may be
Natural = Annotated[int, Within(0, 10**9)]
Count = Annotated[int, Within(1, 10**9)]
Seed = Annotated[int, Within(0, 2**32 - 1)]
Share = Annotated[float, Within(0, 1)]
Weight = Annotated[float, Within(0, 10**6)]
Name = Annotated[str, FolderName()]
Names = Annotated[list[str], Items(0, 1000)]
People = Annotated[list[Count], Items(0, 1000)]
Seeds = Annotated[list[Seed], Items(1, 1000)]

# Of networks and their training
BatchSize = Annotated[int, Within(1, 2**20)]
Channels = Annotated[int, Within(1, 2**14)]
GroupedChannels = Annotated[int, Within(8, 2**14, multiple_of=8)]  # for 8 groups of group norm
Layers = Annotated[int, Within(1, 100)]
Multipliers = Annotated[list[Annotated[int, Within(1, 2**10)]], Items(1, 10, twice=True)]
LearningRate = Annotated[float, Within(0, 10)]
BelowOne = Annotated[float, Within(0, 1, but_not=1)]
Betas = Annotated[tuple[BelowOne, BelowOne], Items(2, 2, twice=True)]
SheetSize = Annotated[int, Within(1, 1000)]

TERMS = ("reconstruction", "perceptual", "style", "clip", "adversarial")
SOURCES = ("writers", "fonts", "simulated")
Sources = Annotated[list[Annotated[str, OneOf(" ".join(SOURCES))]], Items(1, 3)]
Contents = Annotated[list[Annotated[str, OneOf("hands " + " ".join(SOURCES))]], Items(1, 4)]
SPLITS = ("train", "validation", "test")
Splits = Annotated[list[Annotated[str, OneOf(" ".join(SPLITS))]], Items(1, 3)]


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


STEPS = tuple(step.value for step in StepType if step is not StepType.all)


class ClipTargets(StrEnum):
    """What CLIP takes as right in a batch."""

    character = "character"  # same character, same target
    similarity = "similarity"  # soft (paper)


class StyleCharacter(StrEnum):
    """Which character a style image shows."""

    same = "same"  # the target itself (paper)
    any = "any"  # another by that writer


class Content(StrEnum):
    """What the content of style transfer is."""

    drawing = "drawing"  # a thin line drawing, in use the character drawn in the style's hand
    images = "images"  # other images of the character (paper)


class Condition(StrEnum):
    """What tells the diffusion model which character to draw."""

    character = "character"  # a learned embedding of the class
    text = "text"  # the frozen CLIP text embedding of its components


@dataclass
class Data:
    """Handwriting, split by writer: the keys that every reader has.

    Each reader in ``handwriting/corpus/readers/`` adds its own; ``data=`` chooses one of them.
    """

    num_simulated_writers: Natural = 0  # beside real ones; never tested on
    unseen_characters: Natural = 0  # kanji kept from encoders and generators (zero-shot)
    split_seed: Seed = II("seed")  # chooses who is in which split
    rotation: Natural = 0  # turns the order of people, so that all are tested in turn
    people: Natural | None = None  # of the training writers, so many are used; null: all
    partial: bool = False  # they may lack characters, which only other sources then show


@dataclass
class Fonts:
    """Where fonts come from; a face, or a variable font's named instance, is one more writer."""

    packages: list[str] = default([*PACKAGED_FONTS])
    folders: list[str] = default([])
    list_file: str | None = None
    system: bool = False
    reference: str = "Noto Sans JP"  # part of the name of the content font of step1
    min_coverage: Share = 0.9  # share of the classes that a font must have


@dataclass
class Structure:
    """The text of a character: its components."""

    path: str | None = None  # the user's JSON; null: KanjiVG
    context_length: Annotated[int, Within(3, 10_000)] = 24  # tokens, start and end included


@dataclass
class Training:
    """What every training loop needs."""

    num_steps: Count = MISSING  # of the optimizer
    batch_size: BatchSize = MISSING  # images, or texts, of a step
    learning_rate: LearningRate = MISSING  # the highest of the schedule


@dataclass
class ImageEncoder(Training):
    num_steps: Count = 4000
    batch_size: BatchSize = 256
    learning_rate: LearningRate = 2e-3
    network: str = "small_resnet"  # or a timm name
    width: Channels = 32  # channels of small_resnet's first stage


@dataclass
class TextEncoder(Training):
    num_steps: Count = 1000
    batch_size: BatchSize = 128
    learning_rate: LearningRate = 1e-3
    width: Channels = 128  # of a token's vector, a multiple of heads
    heads: Layers = 4  # of attention
    layers: Layers = 3  # of the transformer

    def conflicts(self) -> list[str]:
        message = f"heads={self.heads}: expected a divisor of text_encoder.width={self.width}"
        return [message] if self.width % self.heads else []


@dataclass
class Clip(Training):
    num_steps: Count = 2000
    batch_size: BatchSize = 256
    learning_rate: LearningRate = 5e-4
    embedding_dim: Channels = 128  # of the space that images and texts share
    targets: ClipTargets = ClipTargets.character
    learn_temperature: bool = True


@dataclass
class StyleTransfer:
    dim: Channels = 32  # channels at full resolution
    dim_mults: Multipliers = default([1, 2, 4, 8])  # of dim, per level
    num_blocks: Layers = 1  # residual blocks per level
    patch_px: Annotated[int, Within(1, 64)] = 2  # pixels per side that the stem folds into channels
    full_attention: bool = False  # linear attention at every level (paper) or in the middle only
    gradient_checkpointing: bool = False  # less memory for more time: large images
    discriminator_dim: Annotated[int, Within(4, 2**14, multiple_of=4)] = 32  # its first channels
    discriminator_layers: Annotated[int, Within(1, 10)] = 3  # each halves the resolution
    num_steps: Annotated[dict[str, Count], Keys(STEPS)] = default(  # per step_type
        {"step1": 2000, "step2": 2000, "step3": 2000, "step_end": 14000}
    )
    batch_size: BatchSize = 64  # images of a step
    learning_rate: LearningRate | None = None  # of the generator; null: 1e-3, from the base 2e-4
    discriminator_learning_rate: LearningRate = 2e-4  # of the discriminator
    betas: Betas = (0.5, 0.9)  # of Adam's averages of gradients and of their squares
    content: Content = Content.drawing
    style_character: StyleCharacter = StyleCharacter.any
    condition_dropout: Share = 0.1  # how often the class is replaced by the null embedding
    max_angle: Annotated[float, Within(0, 180)] = 15.0  # degrees
    weights: Annotated[dict[str, Weight], Keys(TERMS)] = default(  # of the terms of the objective
        {"reconstruction": 1.0, "perceptual": 1.0, "style": 0.1, "clip": 0.1, "adversarial": 0.8}
    )
    ema_decay: Share = 0.995  # of the average of the weights; 0: the last ones
    num_samples: SheetSize = 10  # characters on a sample sheet
    sample_every: Count = 1000  # steps

    def conflicts(self) -> list[str]:
        widths = [self.dim * mult for mult in self.dim_mults]
        message = f"dim={self.dim}: expected multiples of 8 (groups of group norm) when multiplied "
        message += f"by style_transfer.dim_mults={self.dim_mults}"
        return [message] if any(width % 8 for width in widths) else []


@dataclass
class GeneratorTraining(Training):
    """What the generators that learn from one mixture of sources have in common."""

    batch_size: BatchSize = 128
    shares: Annotated[dict[str, Weight], Keys(SOURCES, all_zero=False)] = default(  # in a batch
        {"writers": 0.4, "fonts": 0.2, "simulated": 0.4}
    )
    num_samples: SheetSize = 10  # characters on a sample sheet
    sample_every: Count = 1000  # steps


@dataclass
class CDiffusion(GeneratorTraining):
    num_steps: Count = 20000
    learning_rate: LearningRate = 1e-3
    drawing: bool = True  # it sees a line drawing of the character, in use drawn in the hand
    condition: Condition = Condition.character
    dim: GroupedChannels = 48  # channels of the first level, at half the image's size
    dim_mults: Multipliers = default([1, 2, 4])  # of dim, per level
    num_blocks: Layers = 1  # per level
    num_style_images: Annotated[int, Within(1, 1000)] = 2  # by one hand, whose style is their mean
    condition_dropout: Share = 0.1  # how often the null condition is trained
    ema_decay: Share = 0.995  # of the average of the weights; 0: the last ones
    start: str | None = None  # weights to start from; null: random ones
    # Of the network, for one image; chosen by measurement: training_cdiffusion_model/README.md
    num_evaluations: Annotated[int, Within(1, 10_000)] = 2  # Euler steps
    guidance: Annotated[float, Within(0, 100)] = 1.0  # 1: none


@dataclass
class Dcgan(GeneratorTraining):
    num_steps: Count = 20000
    batch_size: Annotated[int, Within(4, 2**20, multiple_of=4)] = 128  # images, compared in fours
    learning_rate: LearningRate = 4e-4  # of the generator
    discriminator_learning_rate: LearningRate = 4e-4  # of the discriminator
    class_conditional: bool = True  # without, it cannot label what it makes
    z_dim: Channels = 100  # normal values that an image is made from
    dim: Channels = 64  # channels at half the image's side, twice as many at a quarter
    discriminator_dim: Channels = 64  # likewise
    betas: Betas = (0.5, 0.999)  # of Adam's averages of gradients and of their squares
    ema_decay: Share = 0.995  # of the average of the generator's weights; 0: the last ones
    sample_every: Count = 500


@dataclass
class Vae(GeneratorTraining):
    num_steps: Count = 10000
    learning_rate: LearningRate = 2e-3
    class_conditional: bool = True  # without, it cannot label what it makes
    num_latents: Channels = 12  # variables that an image is coded in
    dim: GroupedChannels = 64  # channels at half the image's side, four times as many at an eighth
    dropout: BelowOne = 0.1  # of the features on both sides of the latent variables


@dataclass
class Practice(Training):
    """What the networks have in common that learn from simulated writers' strokes."""

    batch_size: BatchSize = 64
    learning_rate: LearningRate = 2e-3
    characters: str = "all"
    num_samples: Annotated[int, Within(16, 10**8)] = 80_000  # written characters to learn from
    channels: GroupedChannels = 24  # of features at half the image's side
    dim: Annotated[int, Within(4, 2**14, multiple_of=4)] = 64  # of what is known of a point


@dataclass
class StrokeReader(Practice):
    """The network that tells where strokes lie in an image."""

    num_steps: Count = 7000
    num_iterations: Layers = 3  # how often the strokes are moved
    num_shown: SheetSize = 20  # characters on a sample sheet
    sample_every: Count = 1000  # steps


@dataclass
class StrokeJudge(Practice):
    """The network that tells whether an image shows its character."""

    num_steps: Count = 6000
    num_samples: Annotated[int, Within(16, 10**8)] = 48_000
    channels: GroupedChannels = 16
    reader: str | None = None  # weights of the reader that it judges; null: those that ship


@dataclass
class Redrawn:
    """Training writers' own letter forms, written again."""

    spread: Annotated[float, Within(0, 10)] = 1.0  # of how writings differ; 1: as one person's do
    morphing: Share = 0.0  # of the images, up to half way to another writer's form or KanjiVG's
    licence: str = ""  # of the handwriting: it goes into the files of hands, with the credit
    credit: str = ""


@dataclass
class Generation:
    num_per_character: Count = 100  # images
    characters: str | None = None  # null: the study's
    # A file of a hand, or a folder of such files: their hands instead of a study's writers
    hands: str | None = None
    # Of style transfer; or writers, simulated; hands: drawn in the hand of the style. null: hands
    # for weights that were trained with drawings, else fonts and writers
    contents: Contents | None = None
    content_names: list[str] = default([])  # parts of names among them; empty: all
    styles: Sources = default(["writers"])  # the training ones
    style_names: list[str] = default([])
    num_hands: Annotated[int, Within(1, 100)] = 1  # whose styles an image mixes
    batch_size: BatchSize = 32  # images made at a time; a GPU is quicker with more
    # A recogniser: weights, a run folder, or an arm of the study without generated images. What it
    # does not read as intended is drawn again with other noise and style; null: nothing is
    redraw: str | None = None
    output: str | None = None  # null: in the run folder of the generator


@dataclass
class CharacterClassification(Training):
    num_steps: Count = 4000
    batch_size: BatchSize = 128
    learning_rate: LearningRate = 2e-3
    network: str = "small_resnet"
    width: Channels = 32  # channels of small_resnet's first stage
    # Numbers whose direction tells the class: fewer weights where classes are many, and classes can
    # be added; null: a linear layer on all features
    embedding_dim: Channels | None = None  # of an embedding
    weight_decay: Annotated[float, Within(0, 10)] = 0.05  # of AdamW
    label_smoothing: Share = 0.1  # of a target, spread over all classes
    roughness: Share = 0.0  # of edges, in classical augmentation: kinks and dust as in scans
    kana: Annotated[float, Within(0, 1000)] = 1.0  # draws of a kana for each of a kanji; 1: as many
    name: Name | None = None  # of the arm; null: made from what it sees
    splits: Splits = default(["train"])  # whose handwriting; the judge takes others
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
    judge_steps: Count = 8000  # the judge is trained for longer than an arm
    num_confusions: Natural = 10  # shown of each recogniser


@dataclass
class Pipeline:
    generators: Names = MISSING  # of generators.py
    seeds: Seeds = default([0, 1, 2])  # of the recognisers
    # Each arm without and with classical augmentation.
    augmentations: Annotated[list[bool], Items(1, 2)] = default([False, True])
    arms: Names | None = None  # such as real+vae+classical; null: all of the above
    control: str | None = None  # that gains are over; null: real+fonts+classical or most sources
    num_workers: Annotated[int, Within(1, 1024)] = 1  # processes that train side by side


@dataclass
class Evidence:
    """The grid of the experiment: arms x people x seeds, each cell a study of its own."""

    arms: Names = MISSING  # such as real+fonts+cdiffusion+classical
    control: str = MISSING  # the arm that a claim must beat; with all people it is the ceiling
    people: Annotated[People, Items(1, 1000)] = default([1, 2, 5])  # who train
    # Which people are tested, and all that is random
    seeds: Annotated[list[Seed], Items(0, 1000)] = default([0, 1, 2, 3, 4])  # []: report `results`
    # results.json of the same grid, run elsewhere: the report has their cells, too
    results: list[str] = default([])
    # Named before any result, to answer the question; the recipes vary it. null: none
    named_arm: str | None = MISSING
    recipe_people: People = default([1])  # with whom recipes are tried
    recipes: dict[str, dict[str, Any]] = default({})  # name -> fields of `recipe`, and gen_ratio


@dataclass
class Runtime:
    device: Annotated[str, OneOf("cpu cuda")] = "cpu"
    # auto: bf16 where the processor computes in it, else no (float32)
    precision: Annotated[str, OneOf("auto no bf16")] = "auto"
    num_threads: Annotated[int, Within(0, 1024)] = 0  # 0: as many as torch finds
    checkpoint_every_s: Annotated[float, Within(0, 10**9)] = 60.0  # seconds
    compile: bool = False  # blocks with torch.compile: minutes at first; needs a C++ compiler


@dataclass
class Read:
    """What ``read.py`` reads: ``conf/read.yaml``."""

    images: list[str] = default([])  # files
    manifest: str | None = None  # or labelled images, of which the share read right is told
    sheet: str | None = None  # a PNG of the manifest's images that are misread
    characters: str | None = None  # that may be read, a class list; null: all that it knows
    weights: str | None = None  # of a recogniser, or its run folder; null: those that ship
    num_guesses: Annotated[int, Within(1, 1000)] = 5  # characters, the likeliest, of each image
    cache_dir: str = MISSING
    runtime: Runtime = field(default_factory=Runtime)


@dataclass
class AddCharacters:
    """What ``add_characters.py`` adds: ``conf/add_characters.yaml``."""

    characters: str | None = None  # a class list, or the characters themselves
    manifest: str | None = None  # or images of them; what is known already is left out
    output: str = MISSING  # weights
    weights: str | None = None  # of the recogniser; null: those that ship
    num_writers: Annotated[int, Within(1, 10_000)] = 30  # simulated ones, who write the characters
    cache_dir: str = MISSING
    runtime: Runtime = field(default_factory=Runtime)


@dataclass
class Config:
    """A whole study: ``conf/study.yaml``."""

    name: Name = MISSING  # runs go to runs_dir/name
    seed: Seed = 0  # of all that is random
    size_px: Annotated[int, Within(8, 2048)] = MISSING  # side of every image
    runs_dir: str = MISSING
    cache_dir: str = MISSING
    # By wandb: handwriting/runs/tracking.py
    tracking: Annotated[str, OneOf("disabled offline online")] = "disabled"

    model_mode: ModelMode = ModelMode.adain_clip
    step_type: StepType = StepType.all
    aug: bool = True  # classical augmentation of encoders, and of a classifier outside of a study
    use_gen: Any = ""  # or a manifest or a list of manifests of generated images
    gen_ratio: Share = 0.5  # share of a batch that is not real
    # What the image encoder, CLIP and style transfer start from: null, nothing; base, the weights
    # that ship, for any characters (handwriting/weights/README.md)
    weights: Annotated[str, OneOf("base")] | None = None
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
    stroke_reader: StrokeReader = field(default_factory=StrokeReader)
    stroke_judge: StrokeJudge = field(default_factory=StrokeJudge)
    redrawn: Redrawn = field(default_factory=Redrawn)
    generation: Generation = field(default_factory=Generation)
    classifier: CharacterClassification = field(default_factory=CharacterClassification)
    recipe: Recipe = field(default_factory=Recipe)
    evaluation: Evaluation = field(default_factory=Evaluation)
    pipeline: Pipeline = field(default_factory=Pipeline)
    evidence: Evidence = field(default_factory=Evidence)
    runtime: Runtime = field(default_factory=Runtime)
