"""The study's configuration: ``conf/`` holds the values, these dataclasses hold shape and type.

All scripts compose the same study, so that an override or an experiment means the same to each of
them; a script reads the sections that it needs. A misspelt key, a wrong type or an unknown choice
stops at composition and is named.
"""

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Any

from omegaconf import MISSING


class ModelMode(Enum):
    """What conditions the generator besides the content and style images."""

    adain = "adain"  # nothing
    adain_mlp = "adain_mlp"  # a learned embedding of the class
    adain_clip = "adain_clip"  # the frozen CLIP text embedding of the character's components


class GeneratorName(StrEnum):
    """What makes images for recognisers: a generator, or one mode of style transfer."""

    adain = "adain"
    adain_mlp = "adain_mlp"
    adain_clip = "adain_clip"
    dcgan = "dcgan"
    vae = "vae"
    cdiffusion = "cdiffusion"


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


class Preparation(StrEnum):
    """What becomes of the images of the ETL Character Database."""

    canonical = "canonical"  # the one form of every source
    plain = "plain"  # padded to a square, resized
    smooth = "smooth"  # blurred, Otsu's threshold to zero, cut to a square


class Tracking(Enum):
    """The wandb mode."""

    disabled = "disabled"
    offline = "offline"
    online = "online"


@dataclass
class Etl:
    """What is taken from the ETL Character Database, and who is in which split.

    A count of writers that is null is an equal share of the people whom the other splits leave.
    """

    folder: str = MISSING  # the unpacked files lie in it, at any depth
    output: str = MISSING
    train_sets: list[str] = MISSING  # such as ETL9G
    train_writers: int | None = MISSING  # of each set
    evaluation_sets: list[str] = MISSING  # may be the same: the people are others
    validation_writers: int | None = MISSING  # of each set
    test_writers: int | None = MISSING
    samples_per_class: int | None = MISSING  # at most, in training; by as many writers as there are
    max_quality: int | None = MISSING  # of every split: 0 (clean) to 3; null takes all
    model_sets: bool = MISSING  # the organisers' prints in ETL8 and ETL9, as one more writer
    co59: str | None = MISSING  # euc_co59.dat, which only ETL2 needs
    preparation: Preparation = MISSING
    png: bool = MISSING  # also the original images as files with manifests


@dataclass
class Data:
    """Handwriting, split by writer."""

    source: str = MISSING  # simulated | manifest | fonts | etl
    characters: str | None = MISSING  # a class list; null takes the manifest's characters
    manifest: str | None = MISSING
    validation_manifest: str | None = MISSING  # null: split `manifest` by writer
    test_manifest: str | None = MISSING
    train_writers: int = MISSING
    validation_writers: int = MISSING  # the writers that remain are test writers
    hands: list[str] = MISSING  # font files, or folders of one hand each, standing in for people
    num_writers: int = MISSING  # simulated people standing in for real ones
    samples_per_writer: int = MISSING  # of each character, by each simulated person
    num_simulated_writers: int = MISSING  # simulated hands beside real ones; never tested on
    unseen_characters: int = MISSING  # kanji kept from encoders and generators (zero-shot)
    split_seed: int = MISSING
    rotation: int = MISSING  # turns the order of people, so that all are tested in turn
    people: int | None = MISSING  # of the training writers, so many are used; null: all
    etl: Etl | None = None


@dataclass
class Fonts:
    """Where fonts come from; a font counts as one more writer."""

    packages: list[str] = MISSING
    folders: list[str] = MISSING
    list_file: str | None = MISSING
    system: bool = MISSING
    reference: str = MISSING  # part of the name of the content font of step1 and generation
    min_coverage: float = MISSING  # share of the classes that a font must have


@dataclass
class Structure:
    """The text of a character: its components."""

    path: str | None = MISSING  # the user's JSON; null: KanjiVG
    context_length: int = MISSING  # tokens of a sequence with its start and end


@dataclass
class Training:
    """What every training loop needs."""

    num_steps: int = MISSING
    batch_size: int = MISSING
    learning_rate: float = MISSING


@dataclass
class ImageEncoder(Training):
    network: str = MISSING  # small_resnet or a timm name
    width: int = MISSING


@dataclass
class TextEncoder(Training):
    width: int = MISSING
    heads: int = MISSING
    layers: int = MISSING


@dataclass
class Clip(Training):
    embedding_dim: int = MISSING
    targets: ClipTargets = MISSING
    learn_temperature: bool = MISSING


@dataclass
class StyleTransfer:
    dim: int = MISSING  # channels at full resolution
    dim_mults: list[int] = MISSING  # channels per level, as multiples of dim
    num_blocks: int = MISSING  # residual blocks per level
    patch_px: int = MISSING  # pixels per side that the stem folds into channels
    full_attention: bool = MISSING  # linear attention at every level (paper) or in the middle only
    gradient_checkpointing: bool = MISSING  # less memory for a third more time: large images
    discriminator_dim: int = MISSING
    discriminator_layers: int = MISSING
    num_steps: dict[str, int] = MISSING  # per step_type
    batch_size: int = MISSING
    learning_rate: float = MISSING
    discriminator_learning_rate: float = MISSING
    betas: list[float] = MISSING
    style_character: StyleCharacter = MISSING
    condition_dropout: float = MISSING  # how often the class is replaced by the null embedding
    max_angle: float = MISSING  # degrees
    weights: dict[str, float] = MISSING  # of the terms of the objective
    ema_decay: float = MISSING
    num_samples: int = MISSING  # characters on a sample sheet
    sample_every: int = MISSING


@dataclass
class GeneratorTraining(Training):
    """What the generators that learn from one mixture of sources have in common."""

    shares: dict[str, float] = MISSING  # of the sources: writers, fonts, simulated
    num_samples: int = MISSING  # characters on a sample sheet
    sample_every: int = MISSING


@dataclass
class CDiffusion(GeneratorTraining):
    condition: Condition = MISSING
    dim: int = MISSING  # channels of the first level, at half the image's size
    dim_mults: list[int] = MISSING  # channels per level, as multiples of dim
    num_blocks: int = MISSING  # per level
    num_style_images: int = MISSING  # by one hand, whose style is their mean
    condition_dropout: float = MISSING  # how often the null condition is trained
    ema_decay: float = MISSING
    start: str | None = MISSING  # weights to start from; null: random ones
    num_evaluations: int = MISSING  # of the network, for one image
    guidance: float = MISSING  # 1: none


@dataclass
class Dcgan(GeneratorTraining):
    class_conditional: bool = MISSING  # without, it cannot label what it makes
    z_dim: int = MISSING
    dim: int = MISSING  # channels at half the image's side, twice as many at a quarter
    discriminator_dim: int = MISSING  # likewise
    discriminator_learning_rate: float = MISSING
    betas: list[float] = MISSING
    ema_decay: float = MISSING


@dataclass
class Vae(GeneratorTraining):
    class_conditional: bool = MISSING  # without, it cannot label what it makes
    num_latents: int = MISSING
    dim: int = MISSING  # channels at half the image's side, up to four times as many at an eighth
    dropout: float = MISSING
    smooth: bool = MISSING  # training images blurred and thresholded first, as in the original


@dataclass
class Generation:
    num_per_character: int = MISSING
    characters: str | None = MISSING  # null: the study's
    contents: list[str] = MISSING  # of fonts, writers (the training ones), simulated
    content_names: list[str] = MISSING  # parts of names among them; empty: all
    styles: list[str] = MISSING  # likewise
    style_names: list[str] = MISSING
    num_hands: int = MISSING  # whose styles are mixed in one image: 2 for hands between hands
    batch_size: int = MISSING
    output: str | None = MISSING  # null: in the run folder of the generator


@dataclass
class CharacterClassification(Training):
    network: str = MISSING
    width: int = MISSING
    weight_decay: float = MISSING
    label_smoothing: float = MISSING
    name: str | None = MISSING  # of the arm; null: made from what it sees
    splits: list[str] = MISSING  # whose handwriting: [train]; a judge of generated images: others
    use_real: bool = MISSING
    use_fonts: bool = MISSING
    use_simulated: bool = MISSING  # the simulated hands beside real ones


@dataclass
class Recipe:
    """How a recogniser uses generated images."""

    by_confusion: bool = MISSING  # more images of what the control confuses in validation


@dataclass
class Evaluation:
    recognisers: list[str] = MISSING  # run folders or weights; empty: all of the study
    manifest: str | None = MISSING  # images to read instead of the test writers'
    judge_steps: int = MISSING  # the judge is trained for longer than an arm
    num_confusions: int = MISSING


@dataclass
class Pipeline:
    generators: list[GeneratorName] = MISSING
    seeds: list[int] = MISSING
    augmentations: list[bool] = MISSING  # each arm without and with classical augmentation
    arms: list[str] | None = MISSING  # such as real+vae+classical; null: all of the above
    control: str | None = MISSING  # that gains are over; null: real+fonts+classical or most sources
    num_workers: int = MISSING  # processes that train generators, then classifiers, side by side


@dataclass
class Evidence:
    """The grid of the experiment: arms x people x seeds, each cell a study of its own."""

    arms: list[str] = MISSING  # such as real+fonts+cdiffusion+classical
    control: str = MISSING  # the arm that a claim must beat; with all people it is the ceiling
    people: list[int] = MISSING  # real samples per class: training people who wrote one of each
    seeds: list[int] = MISSING  # which people are tested, and all that is random
    adaptation: Training | None = MISSING  # of diffusion that learnt fonts and simulated hands
    recipe_arm: str = MISSING  # that the recipes vary
    recipe_people: list[int] = MISSING
    recipes: dict[str, dict[str, Any]] = MISSING  # name -> fields of `recipe`, and gen_ratio


@dataclass
class Runtime:
    device: str = MISSING  # cpu | cuda
    precision: str = MISSING  # auto | no | bf16
    num_threads: int = MISSING  # 0: as many as torch finds
    checkpoint_every_s: float = MISSING
    compile: bool = MISSING  # blocks with torch.compile: minutes at first; needs a C++ compiler


@dataclass
class Config:
    """A whole study."""

    name: str = MISSING
    seed: int = MISSING
    size_px: int = MISSING
    runs_dir: str = MISSING
    cache_dir: str = MISSING
    tracking: Tracking = MISSING

    model_mode: ModelMode = MISSING
    step_type: StepType = MISSING
    aug: bool = MISSING  # classical augmentation of encoder and classifier training
    use_gen: Any = MISSING  # "" or a manifest or a list of manifests of generated images
    gen_ratio: float = MISSING  # share of a batch that is not real
    image_weight: str | None = MISSING  # weights: null takes those of this study's run folders
    text_weight: str | None = MISSING
    clip_weight: str | None = MISSING
    gen_weight: str | None = MISSING
    disc_weight: str | None = MISSING

    data: Data = MISSING
    fonts: Fonts = MISSING
    structure: Structure = MISSING
    image_encoder: ImageEncoder = MISSING
    text_encoder: TextEncoder = MISSING
    clip: Clip = MISSING
    style_transfer: StyleTransfer = MISSING
    dcgan: Dcgan = MISSING
    vae: Vae = MISSING
    cdiffusion: CDiffusion = MISSING
    generation: Generation = MISSING
    classifier: CharacterClassification = MISSING
    recipe: Recipe = MISSING
    evaluation: Evaluation = MISSING
    pipeline: Pipeline = MISSING
    evidence: Evidence = MISSING
    runtime: Runtime = MISSING
