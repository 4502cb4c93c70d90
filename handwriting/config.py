"""The study's configuration: every key with its type and its default.

``conf/`` holds what differs from these defaults and what each study chooses; a study must set what
is ``MISSING`` here. All scripts compose the same study, so that an override or an experiment means
the same to each of them; a script reads the sections that it needs. A misspelt key, a wrong type,
an unknown choice or a value outside its range is an error at composition, which names the key and
quotes the comment that follows the field.
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

# Types that several fields share
Natural = Annotated[int, Within(0, 10**9)]
Count = Annotated[int, Within(1, 10**9)]
Seed = Annotated[int, Within(0, 2**32 - 1)]
Share = Annotated[float, Within(0, 1)]
Weight = Annotated[float, Within(0, 10**6)]
Name = Annotated[str, FolderName()]
Names = Annotated[list[str], Items(0, 1000)]
People = Annotated[list[Count], Items(0, 1000)]
Seeds = Annotated[list[Seed], Items(1, 1000)]

# For networks and their training
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
    """The training steps of a generator, each starting from the weights of the one before."""

    step1 = "step1"
    step2 = "step2"
    step3 = "step3"
    step_end = "step_end"
    all = "all"  # the four in order


STEPS = tuple(step.value for step in StepType if step is not StepType.all)


class ClipTargets(StrEnum):
    """Which pairs of a batch CLIP is trained to match."""

    character = "character"  # same character, same target
    similarity = "similarity"  # soft targets (paper)


class StyleCharacter(StrEnum):
    """Which character a style image shows."""

    same = "same"  # the target itself (paper)
    any = "any"  # another by that writer


class Content(StrEnum):
    """The content images of style transfer."""

    drawing = "drawing"  # a thin line drawing; for generation, drawn in the style writer's hand
    images = "images"  # other images of the character (paper)


class Condition(StrEnum):
    """What tells the diffusion model which character to draw."""

    character = "character"  # a learned embedding of the class
    text = "text"  # the frozen CLIP text embedding of its components


@dataclass
class Data:
    """Handwriting, split by writer: the keys that all readers share.

    Each reader in ``handwriting/corpus/readers/`` adds its own; ``data=`` chooses one of them.
    """

    num_simulated_writers: Natural = 0  # in addition to real ones; never tested on
    unseen_characters: Natural = 0  # kanji withheld from encoders and generators (zero-shot)
    split_seed: Seed = II("seed")  # decides which writer is in which split
    rotation: Natural = 0  # rotates the order of writers, so that all are tested in turn
    people: Natural | None = None  # how many of the training writers are used; null: all
    partial: bool = False  # they may lack characters, which only other sources supply


@dataclass
class Fonts:
    """Where fonts come from; a face, or a variable font's named instance, counts as a writer."""

    packages: list[str] = default([*PACKAGED_FONTS])
    folders: list[str] = default([])
    list_file: str | None = None
    system: bool = False
    reference: str = "Noto Sans JP"  # part of the name of step1's content font
    min_coverage: Share = 0.9  # share of the classes that a font must contain


@dataclass
class Structure:
    """The text of a character: its components."""

    path: str | None = None  # the user's JSON; null: KanjiVG
    context_length: Annotated[int, Within(3, 10_000)] = 24  # tokens, start and end included


@dataclass
class Training:
    """What every training loop needs."""

    num_steps: Count = MISSING  # optimizer steps
    batch_size: BatchSize = MISSING  # images or texts per step
    learning_rate: LearningRate = MISSING  # peak of the schedule


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
    width: Channels = 128  # size of a token's vector, a multiple of heads
    heads: Layers = 4  # attention heads
    layers: Layers = 3  # transformer layers

    def conflicts(self) -> list[str]:
        message = f"heads={self.heads}: expected a divisor of text_encoder.width={self.width}"
        return [message] if self.width % self.heads else []


@dataclass
class Clip(Training):
    num_steps: Count = 2000
    batch_size: BatchSize = 256
    learning_rate: LearningRate = 5e-4
    embedding_dim: Channels = 128  # of the space shared by images and texts
    targets: ClipTargets = ClipTargets.character
    learn_temperature: bool = True


@dataclass
class StyleTransfer:
    dim: Channels = 32  # channels at full resolution
    dim_mults: Multipliers = default([1, 2, 4, 8])  # multiples of dim, one per level
    num_blocks: Layers = 1  # residual blocks per level
    patch_px: Annotated[int, Within(1, 64)] = 2  # pixels per side that the stem folds into channels
    full_attention: bool = False  # linear attention at every level (paper), or only in the middle
    gradient_checkpointing: bool = False  # saves memory but takes more time; for large images
    discriminator_dim: Annotated[int, Within(4, 2**14, multiple_of=4)] = 32  # of its first layer
    discriminator_layers: Annotated[int, Within(1, 10)] = 3  # each halves the resolution
    num_steps: Annotated[dict[str, Count], Keys(STEPS)] = default(  # per step_type
        {"step1": 2000, "step2": 2000, "step3": 2000, "step_end": 14000}
    )
    batch_size: BatchSize = 64  # images per step
    learning_rate: LearningRate | None = None  # null: 1e-3, or 2e-4 with weights=base
    discriminator_learning_rate: LearningRate = 2e-4  # of the discriminator
    betas: Betas = (0.5, 0.9)  # decay rates of Adam's first and second moments
    content: Content = Content.drawing
    style_character: StyleCharacter = StyleCharacter.any
    condition_dropout: Share = 0.1  # how often the null embedding replaces the class
    max_angle: Annotated[float, Within(0, 180)] = 15.0  # of a random rotation, in degrees
    weights: Annotated[dict[str, Weight], Keys(TERMS)] = default(  # of the terms of the objective
        {"reconstruction": 1.0, "perceptual": 1.0, "style": 0.1, "clip": 0.1, "adversarial": 0.8}
    )
    ema_decay: Share = 0.995  # of the average of the weights; 0: no averaging
    num_samples: SheetSize = 10  # characters on a sample sheet
    sample_every: Count = 1000  # steps

    def conflicts(self) -> list[str]:
        widths = [self.dim * mult for mult in self.dim_mults]
        message = f"dim={self.dim}: expected every product with style_transfer.dim_mults="
        message += f"{self.dim_mults} to be a multiple of 8 (the groups of group norm)"
        return [message] if any(width % 8 for width in widths) else []


@dataclass
class GeneratorTraining(Training):
    """The keys shared by the generators that learn from a mixture of sources."""

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
    drawing: bool = True  # conditioned on a drawing; for generation, in the writer's hand
    condition: Condition = Condition.character
    dim: GroupedChannels = 48  # channels of the first level, at half the image's size
    dim_mults: Multipliers = default([1, 2, 4])  # multiples of dim, one per level
    num_blocks: Layers = 1  # per level
    num_style_images: Annotated[int, Within(1, 1000)] = 2  # of one writer; their mean is the style
    condition_dropout: Share = 0.1  # how often the null condition is trained on
    ema_decay: Share = 0.995  # of the average of the weights; 0: no averaging
    start: str | None = None  # weights to start from; null: random ones
    # Of the network, per image; how both were chosen: training_cdiffusion_model/README.md
    num_evaluations: Annotated[int, Within(1, 10_000)] = 2  # Euler steps
    guidance: Annotated[float, Within(0, 100)] = 1.0  # classifier-free guidance; 1: none


@dataclass
class Dcgan(GeneratorTraining):
    num_steps: Count = 20000
    batch_size: Annotated[int, Within(4, 2**20, multiple_of=4)] = 128  # images, in groups of 4
    learning_rate: LearningRate = 4e-4  # of the generator
    discriminator_learning_rate: LearningRate = 4e-4  # of the discriminator
    class_conditional: bool = True  # without it, generated images have no labels
    z_dim: Channels = 100  # standard normal values that an image is generated from
    dim: Channels = 64  # channels at half resolution, twice as many at a quarter
    discriminator_dim: Channels = 64  # likewise
    betas: Betas = (0.5, 0.999)  # decay rates of Adam's first and second moments
    ema_decay: Share = 0.995  # of the average of the generator's weights; 0: no averaging
    sample_every: Count = 500


@dataclass
class Vae(GeneratorTraining):
    num_steps: Count = 10000
    learning_rate: LearningRate = 2e-3
    class_conditional: bool = True  # without it, generated images have no labels
    num_latents: Channels = 12  # latent variables per image
    dim: GroupedChannels = 64  # channels at half resolution, four times as many at an eighth
    dropout: BelowOne = 0.1  # of the features on both sides of the latent variables


@dataclass
class Practice(Training):
    """The keys shared by the networks that learn from simulated writers' strokes."""

    batch_size: BatchSize = 64
    learning_rate: LearningRate = 2e-3
    characters: str = "all"
    num_samples: Annotated[int, Within(16, 10**8)] = 80_000  # simulated characters to train on
    channels: GroupedChannels = 24  # of features at half resolution
    dim: Annotated[int, Within(4, 2**14, multiple_of=4)] = 64  # of a stroke point's features


@dataclass
class StrokeReader(Practice):
    """The network that locates strokes in an image."""

    num_steps: Count = 7000
    num_iterations: Layers = 3  # how often the strokes' positions are refined
    num_shown: SheetSize = 20  # characters on a sample sheet
    sample_every: Count = 1000  # steps


@dataclass
class StrokeJudge(Practice):
    """The network that decides whether an image shows its character."""

    num_steps: Count = 6000
    num_samples: Annotated[int, Within(16, 10**8)] = 48_000
    channels: GroupedChannels = 16
    reader: str | None = None  # weights of the reader that it judges; null: the shipped ones


@dataclass
class Redrawn:
    """New writings of the training writers' own letter forms."""

    spread: Annotated[float, Within(0, 10)] = 1.0  # of the variation; 1: one person's
    morphing: Share = 0.0  # of images, up to half way to another writer's form or KanjiVG's
    licence: str = ""  # of the handwriting; stored with the credit in the hand files
    credit: str = ""


@dataclass
class Generation:
    num_per_character: Count = 100  # images
    characters: str | None = None  # null: the study's
    # A hand file, or a folder of them, to use instead of the study's writers
    hands: str | None = None
    # Content sources of style transfer. hands: characters drawn in the style writer's hand. null:
    # hands for weights that were trained with drawings, otherwise fonts and writers
    contents: Contents | None = None
    content_names: list[str] = default([])  # parts of writers' or fonts' names; empty: all
    styles: Sources = default(["writers"])  # writers: those who train
    style_names: list[str] = default([])
    num_hands: Annotated[int, Within(1, 100)] = 1  # how many writers' styles an image mixes
    batch_size: BatchSize = 32  # images generated at a time; larger is faster on a GPU
    # A recogniser: weights, a run folder, or an arm of the study without generated images. Images
    # that it misreads are drawn again with other noise and style; null: none are
    redraw: str | None = None
    output: str | None = None  # null: generated/<generator> in the study's folder


@dataclass
class CharacterClassification(Training):
    num_steps: Count = 4000
    batch_size: BatchSize = 128
    learning_rate: LearningRate = 2e-3
    network: str = "small_resnet"
    width: Channels = 32  # channels of small_resnet's first stage
    # An embedding classified by its direction needs fewer weights for many classes, and classes can
    # be added to it; null: a linear layer on all features
    embedding_dim: Channels | None = None  # of the embedding
    weight_decay: Annotated[float, Within(0, 10)] = 0.05  # of AdamW
    label_smoothing: Share = 0.1  # share of a target that is spread over all classes
    roughness: Share = 0.0  # of edges in classical augmentation: kinks and dust, as in scans
    kana: Annotated[float, Within(0, 1000)] = 1.0  # draws of a kana for each draw of a kanji
    name: Name | None = None  # of the arm; null: derived from its sources
    splits: Splits = default(["train"])  # whose handwriting it is trained on; the judge uses others
    use_real: bool = True
    use_fonts: bool = False
    use_simulated: bool = False  # simulated writers in addition to real ones


@dataclass
class Recipe:
    """How a recogniser uses generated images."""

    by_confusion: bool = False  # more images of characters that the control confuses in validation


@dataclass
class Evaluation:
    recognisers: list[str] = default([])  # run folders or weights; empty: all
    manifest: str | None = None  # images to read instead of the test writers'
    judge_steps: Count = 8000  # the judge is trained for longer than an arm
    num_confusions: Natural = 10  # shown per recogniser


@dataclass
class Pipeline:
    generators: Names = MISSING  # names in generators.py
    seeds: Seeds = default([0, 1, 2])  # of the recognisers
    # Every arm is trained without and with classical augmentation.
    augmentations: Annotated[list[bool], Items(1, 2)] = default([False, True])
    arms: Names | None = None  # such as real+vae+classical; null: all of the above
    control: str | None = None  # of gains; null: real+fonts+classical, else most sources
    num_workers: Annotated[int, Within(1, 1024)] = 1  # processes that train in parallel


@dataclass
class Evidence:
    """The grid of the experiment: arms x people x seeds, each cell a study of its own."""

    arms: Names = MISSING  # such as real+fonts+cdiffusion+classical
    control: str = MISSING  # the arm that a claim must beat; with all people it is the ceiling
    people: Annotated[People, Items(1, 1000)] = default([1, 2, 5])  # numbers of training writers
    # They decide which writers are tested, and everything random
    seeds: Annotated[list[Seed], Items(0, 1000)] = default([0, 1, 2, 3, 4])  # []: report `results`
    # results.json files of the same grid, run elsewhere, whose cells the report includes
    results: list[str] = default([])
    # The arm chosen before any result to answer the question; recipes vary it. null: none
    named_arm: str | None = MISSING
    recipe_people: People = default([1])  # numbers of training writers to try recipes with
    recipes: dict[str, dict[str, Any]] = default({})  # name -> fields of `recipe`, and gen_ratio


@dataclass
class Runtime:
    device: Annotated[str, OneOf("cpu cuda")] = "cpu"
    # auto: bf16 where the hardware supports it natively, otherwise no (float32)
    precision: Annotated[str, OneOf("auto no bf16")] = "auto"
    num_threads: Annotated[int, Within(0, 1024)] = 0  # 0: torch's default
    checkpoint_every_s: Annotated[float, Within(0, 10**9)] = 60.0  # seconds
    compile: bool = False  # blocks, by torch.compile: takes minutes at first, needs a C++ compiler


@dataclass
class Read:
    """What ``read.py`` reads: ``conf/read.yaml``."""

    images: list[str] = default([])  # files
    manifest: str | None = None  # or labelled images, on which accuracy is measured
    sheet: str | None = None  # a PNG to write, of the manifest's misread images
    characters: str | None = None  # a class list to choose from; null: all known
    weights: str | None = None  # of a recogniser, or its run folder; null: the shipped ones
    num_guesses: Annotated[int, Within(1, 1000)] = 5  # likeliest characters listed per image
    cache_dir: str = MISSING
    runtime: Runtime = field(default_factory=Runtime)


@dataclass
class AddCharacters:
    """What ``add_characters.py`` adds: ``conf/add_characters.yaml``."""

    characters: str | None = None  # a class list, or the characters themselves
    manifest: str | None = None  # or images of them; known characters are skipped
    output: str = MISSING  # weights
    weights: str | None = None  # of the recogniser; null: the shipped ones
    num_writers: Annotated[int, Within(1, 10_000)] = 30  # simulated writers of the characters
    cache_dir: str = MISSING
    runtime: Runtime = field(default_factory=Runtime)


@dataclass
class Config:
    """A whole study: ``conf/study.yaml``."""

    name: Name = MISSING  # runs go to runs_dir/name
    seed: Seed = 0  # of everything random
    size_px: Annotated[int, Within(8, 2048)] = MISSING  # side of every image
    runs_dir: str = MISSING
    cache_dir: str = MISSING
    # Weights & Biases: handwriting/runs/tracking.py
    tracking: Annotated[str, OneOf("disabled offline online")] = "disabled"

    model_mode: ModelMode = ModelMode.adain_clip
    step_type: StepType = StepType.all
    aug: bool = True  # classical augmentation for encoders, and for a classifier outside a study
    use_gen: Any = ""  # a manifest of generated images, or a list of manifests; "": none
    gen_ratio: Share = 0.5  # share of a batch that is not real
    # What the image encoder, CLIP and style transfer start from. null: random weights; base: the
    # shipped weights, for any characters (handwriting/weights/README.md)
    weights: Annotated[str, OneOf("base")] | None = None
    image_weight: str | None = None  # a weight file; null: the one in this study's run folder
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
