"""All settings of a run in one frozen dataclass, their validation, and their command-line and JSON forms."""

import dataclasses
import os
from collections.abc import Mapping

from monet.core.conflicts import check_combinations
from monet.core.errors import UserError, suggest_names
from monet.core.left_out import LeftOut

VERSION = "0.1.0"
SUBMISSION_SIZE = 256  # side in pixels of a submitted image, fixed by the competition
MIN_IMAGES, MAX_IMAGES = 7000, 10000  # number of images that the competition accepts


def setting(default, help: str = "", *, low=None, high=None, choices: tuple = ()):
    """Returns a field of `Config` with its default, its help text, and its allowed range or choices.

    Every field has a help text; a bundle has it as a comment on its settings instead.
    """
    return dataclasses.field(
        default=default, metadata={"help": help, "low": low, "high": high, "choices": choices})


@dataclasses.dataclass(frozen=True)
class Config:
    """The settings of one run. Defaults are those of the Monet CycleGAN tutorial; `PRESETS` holds alternatives.

    Sources named in the help texts: the tutorial is Jang 2020 (Kaggle), the paper Zhu et al. 2017, Better Cycles Wang
    and Lin 2018, CUT Park et al. 2020, DiffAugment Zhao et al. 2020, unet-32 the preset of that name, R1 Mescheder et
    al. 2018, StyleGAN2 and ADA Karras et al. 2020.
    """

    # Data and files
    preset: str = setting("tutorial", "preset that supplies the defaults of all other settings")
    data: str = setting(
        "",
        help="folder or gs:// address of the images, or tfds:NAME for a TensorFlow dataset; empty: "
             "data/gan-getting-started, else Kaggle's mount")
    swap_sides: bool = setting(
        False, help="swap the two domains: use the data's second set (trainB, photo_tfrec) as the paintings")
    hold_out: float = setting(
        0.0, low=0.0, high=0.5,
        help="share of the paintings held out from training, chosen by the seed, to see whether the discriminator "
             "knows the others by heart; 0: none (tutorial)")
    out: str = setting("submission", "folder for all files that the run writes")
    resume: bool = setting(True, "continue from the newest checkpoint in `out`; false moves that run's files aside")
    seed: int = setting(0, "seed of all random numbers", low=0, high=2**31 - 1)

    # Device
    accelerator: str = setting("auto", "device to train on", choices=("auto", "tpu", "gpu", "cpu"))
    engine: str = setting(
        "auto", choices=("auto", "tensorflow", "jax"),
        help="what runs the training steps; auto: TensorFlow, or JAX where only JAX sees the TPU or GPU")
    precision: str = setting(
        "auto", choices=("auto", "float32", "bfloat16", "float16"),
        help="compute precision; auto: bfloat16 on TPUs and on GPUs that support it, float16 with loss scaling on a "
             "T4, float32 on CPUs")
    xla: str = setting(
        "auto", choices=("auto", "on", "off"),
        help="compile the training step with XLA; auto: only on GPUs (3 times slower on CPUs; TPUs always compile)")
    steps_per_call: int = setting(
        0, low=0, high=1000,
        help="training steps per call from the host to the device; 0: 25 on TPUs and GPUs, 1 on CPUs")
    space_to_depth: str = setting(
        "auto", choices=("auto", "on", "off"),
        help="compute the outermost layers with pixels folded into channels: same result, half the memory traffic on a "
             "TPU; auto: on TPUs")

    # Batches and length of the run
    image_size: int = setting(256, "side of the training images in pixels (competition: 256)", low=32)
    jitter: int = setting(
        286, low=0, help="side in pixels to resize to before a random crop of image_size (paper: 286); 0: no crop")
    mirror: bool = setting(True, "mirror training images at random, half of them (paper)")
    monet_turns: bool = setting(
        False, "also turn paintings by random multiples of 90 degrees, and half of them upside down (as ADA can)")
    batch_size: int = setting(1, "images of each domain per step, over all devices (tutorial: 1)", low=1)
    epochs: int = setting(25, "number of epochs (tutorial: 25); has no effect with minutes", low=1)
    minutes: float = setting(
        0.0, low=0.0,
        help="minutes of training in the whole run, over all sessions, without the zip: the run measures its pace and "
             "plans its steps so that decay_start and cycle_fall end when the minutes do; 0: epochs decide")
    steps_per_epoch: int = setting(
        300, low=0, help="steps per epoch (tutorial: 300, one per painting); 0: one pass over the larger set (paper)")

    # Networks
    system: str = setting("cyclegan", "method: cyclegan, or cut (one generator and one discriminator)")
    generator: str = setting("unet", "generator architecture: unet, resnet or residual_unet")
    generator_filters: int = setting(64, "filters in the generator's first layer (tutorial: 64)", low=1)
    generator_levels: int = setting(8, "times that a U-Net halves the image (tutorial: 8, down to 1x1)", low=1, high=16)
    residual_blocks: int = setting(
        0, low=0, help="number of residual blocks; 0: 9 in resnet, 6 below 256 pixels (paper), 3 in residual_unet")
    upsample: str = setting(
        "transpose", choices=("transpose", "resize", "nearest"),
        help="upsampling in the generator; transpose: transposed convolution (tutorial); resize: bilinear and "
             "convolution, without checkerboard artifacts; nearest: repeated pixels and 4x4 convolution (unet-32)")
    dropout: float = setting(0.5, "dropout rate in a U-Net's first three up-blocks (tutorial: 0.5)", low=0.0, high=0.95)
    generator_leak: float = setting(
        0.3, low=0.0, high=1.0,
        help="negative slope of LeakyReLU in a U-Net's down-blocks (tutorial: 0.3, Keras's default); 0: ReLU")
    global_residual: bool = setting(
        False, help="add the generator's output to its input, before tanh, so that it begins by copying (Kim et al. "
                    "2016, VDSR)")
    match_colors: bool = setting(
        False, help="give all paintings together the colours of the real ones, by a curve for each channel (histogram "
                    "matching), found anew for each preview, score and submission")
    match_detail: bool = setting(
        False, help="give all paintings together as much fine detail as the real ones, by a filter, found like the "
                    "curves of match_colors")
    discriminator: str = setting(
        "patch",
        help="discriminator architecture: patch, strided, or two_objective for paintings with patch for photos")
    discriminator_filters: int = setting(64, "filters in the discriminator's first layer (tutorial: 64)", low=1)
    discriminator_levels: int = setting(
        3, low=1, high=16, help="times that the discriminator halves the image (paper: 3, for 70x70 patches)")
    discriminator_leak: float = setting(
        0.3, low=0.0, high=1.0,
        help="negative slope of LeakyReLU in the discriminator (tutorial: 0.3, Keras's default; paper: 0.2)")
    norm: str = setting("instance", "normalization layer: instance or batch")
    discriminator_norm: str = setting(
        "",
        help="normalization of the discriminators: instance, batch, none or spectral (Miyato et al. 2018); empty: same "
             "as norm. The last two have biases; batch and spectral turn space_to_depth off")
    norm_affine: bool = setting(True, "learn a scale and a shift in normalization (tutorial: yes, paper: no)")
    norm_epsilon: float = setting(
        1e-3, low=1e-12, high=1.0, help="epsilon added to the variance in normalization (tutorial: 1e-3, paper: 1e-5)")
    gamma_mean: float = setting(
        0.0, help="mean of the normal distribution that initializes normalization's scale (tutorial: 0)")
    gamma_stddev: float = setting(0.02, "standard deviation of the same distribution (tutorial: 0.02)", low=0.0)

    # Losses
    adversarial_loss: str = setting(
        "bce", help="adversarial loss of generators and discriminators: bce (tutorial), lsgan (paper) or hinge")
    discriminator_loss: str = setting(
        "", help="loss of the discriminators only: bce, lsgan or hinge; empty: same as adversarial_loss")
    discriminator_weight: float = setting(
        0.5, low=1e-6,
        help="weight of the discriminators' loss (paper: 0.5); with Adam it changes little but the logged loss")
    label_smoothing: float = setting(
        0.0, low=0.0, high=0.5,
        help="how much less than 1 the discriminators should give to real images, with bce and lsgan (Salimans et al. "
             "2016: 0.1)")
    gradient_penalty: float = setting(
        0.0, low=0.0,
        help="gamma of the discriminators' gradient penalty: gamma / 2 times the squared gradient of the mean logit at "
             "real images is added to their loss (R1: 10); 0: none")
    penalty_every: int = setting(
        1, low=1, high=1000,
        help="steps from one gradient penalty to the next, each weighted by this number (StyleGAN2: 16)")
    penalty_rise: float = setting(
        0.0, low=0.0,
        help="passes over the paintings during which the gradient penalty rises from 0, linearly: a small one lets the "
             "discriminator learn what paintings are, a large one is needed once it could know them by heart; 0: it "
             "has its full weight at once")
    cycle_loss: str = setting("l1", "distance in the cycle and identity losses: l1 (paper) or l2")
    cycle_weight: float = setting(10.0, "weight of the cycle loss (paper: 10)", low=0.0)
    identity_weight: float = setting(5.0, "weight of the identity loss (paper: half the cycle weight)", low=0.0)
    cycle_fall: float = setting(
        0.0, low=0.0, high=1.0,
        help="fraction by which the cycle and identity weights fall over the run, linearly (Better Cycles: nearly 1)")
    feature_cycle: float = setting(
        0.0, low=0.0, high=1.0,
        help="fraction of the cycle loss computed on discriminator features, rising linearly from 0 to this at the end "
             "of the run (Better Cycles: 0.999)")
    nce_weight: float = setting(1.0, "cut: weight of the contrastive loss (CUT: 1)", low=0.0)
    nce_identity: bool = setting(True, "cut: apply the contrastive loss to paintings as well (CUT: yes, FastCUT: no)")
    nce_patches: int = setting(256, "cut: patches compared per layer (CUT: 256)", low=2, high=4096)
    nce_temperature: float = setting(0.07, "cut: temperature of the contrastive loss (CUT: 0.07)", low=1e-3)

    # What the discriminators see, and the optimizers
    image_pool: int = setting(
        0, low=0, help="past generated images kept per device to show to each discriminator (paper: 50)")
    diffaugment: str = setting(
        "",
        help="random augmentations of all images that the Monet discriminator sees: color, translation, cutout, joined "
             "by commas (DiffAugment: all three)")
    color_strength: float = setting(
        1.0, low=0.0, high=1.0,
        help="strength of diffaugment's color (DiffAugment: 1); what sees all colors changed teaches no "
             "palette")
    augment_target: float = setting(
        0.0, low=0.0, high=1.0,
        help="adaptive augmentation: each part of diffaugment applies to an image with a probability that rises while "
             "the mean sign of the Monet discriminator's output on paintings is above this, and falls below it (ADA: "
             "0.6); 0: all of it always applies")
    augment_kimg: float = setting(
        5.0, low=1e-3,
        help="thousands of paintings shown in which that probability could rise from 0 to 1 (ADA: 500, a fiftieth of "
             "its run; 300 paintings are known by heart after some 5)")
    augment_start: float = setting(0.0, "that probability at the start of a run (ADA: 0)", low=0.0, high=0.8)
    instance_noise: float = setting(
        0.0, low=0.0,
        help="standard deviation of noise added to all that the discriminators see, where images are in [-1, 1]; it "
             "falls linearly to 0 at the end of the run (Sonderby et al. 2017)")
    augment_most: int = setting(0, "largest set of paintings to which diffaugment applies; 0: any size", low=0)
    learning_rate: float = setting(2e-4, "Adam's learning rate (paper: 2e-4)", low=1e-8, high=1.0)
    discriminator_rate: float = setting(
        0.0, low=0.0, high=1.0,
        help="the discriminators' own learning rate, which falls like the other (TTUR, Heusel et al. 2017); 0: same as "
             "learning_rate")
    decay_start: float = setting(
        1.0, low=0.0, high=1.0,
        help="fraction of the run after which the learning rate falls linearly to 0 (paper: 0.5); 1: never")
    beta_1: float = setting(0.5, "Adam's first-moment decay (paper: 0.5)", low=0.0, high=0.9999)
    ema_decay: float = setting(
        0.0, low=0.0, high=0.99999,
        help="per-step decay of the moving average of the generators' weights, which then paints; 0: no average")

    # Time, checkpoints, previews
    max_minutes: float = setting(
        0.0, low=0.0,
        help="emergency brake: end this session within this time, images.zip included; it plans nothing: decay_start "
             "and cycle_fall still count over all epochs or minutes; 0: no limit")
    checkpoint_minutes: float = setting(10.0, "minutes between checkpoints", low=0.0)
    checkpoint_epochs: int = setting(
        0, low=0, help="epochs between checkpoints (TensorFlow's tutorial: 5); 0: checkpoint_minutes applies")
    keep_checkpoints: int = setting(5, "number of newest checkpoints to keep (TensorFlow's tutorial: 5)", low=1)
    select_by: str = setting(
        "last", choices=("last", "mifid", "best"),
        help="generator to submit; last: the final one; mifid: the one with the best MiFID at a checkpoint, if the FID "
             "Inception's weights are on this machine; best: the one nearest to held-out paintings by its colours and, "
             "with such weights, its features, before the discriminator knew the others by heart")
    select_photos: int = setting(
        1000, low=2, help="photos painted to score a checkpoint, always the same ones; best paints no more than 64 for "
                          "colours")
    preview_minutes: float = setting(2.0, "minutes between previews", low=0.0)
    tensorboard: bool = setting(True, "write TensorBoard scalars and previews to out/tensorboard")

    # The submission
    num_images: int = setting(
        0, low=0, high=MAX_IMAGES, help="images in images.zip; 0: one per photo, plus variants up to 7,000")
    paint_margin: int = setting(
        0, low=0, high=SUBMISSION_SIZE // 2,
        help="pixels of mirrored border added before painting and cut off after; without it, a network trained on "
             "crops paints a frame")
    image_names: str = setting(
        "number", choices=("number", "image_name"),
        help="file names in images.zip: number (0001.jpg and so on), or the photo's image_name")
    jpeg_quality: int = setting(
        95, low=1, high=100, help="JPEG quality of the painted images")
    jpeg_subsampling: str = setting("4:4:4", "JPEG chroma subsampling", choices=("4:4:4", "4:2:2", "4:2:0"))
    match_jpeg: bool = setting(
        False, "compress each painting of images.zip as strongly as one of Monet's, instead of by jpeg_quality and "
               "jpeg_subsampling (FID can fall if both sides are compressed alike: Parmar et al. 2022)")

    @property
    def total_steps(self) -> int:
        """Number of steps of the whole run; 0 if `minutes` decide it, which the run finds out."""
        return 0 if self.minutes else self.epochs * self.steps_per_epoch

    @property
    def checkpoint_steps(self) -> int:
        """Steps between checkpoints if they are counted in epochs; 0 if in minutes."""
        return self.checkpoint_epochs * self.steps_per_epoch


PATH_FIELDS = ("data", "out")  # a ~ in them is the user's home folder, also where no shell has replaced it
FIELDS = {field.name: field for field in dataclasses.fields(Config)}
FORMER_NAMES = {"jitter_size": "jitter"}  # of fields, in config.json and checkpoints of earlier versions
FORMER_FIELDS = ("penalty_start",)  # which config.json of earlier versions may have, and nothing takes the place of
CHANGES = "changes"  # in config.json beside the fields: which of them changed during the run, and at which step
# A checkpoint can be restored only if these match.
ARCHITECTURE_FIELDS = (
    "system", "generator", "generator_filters", "generator_levels", "residual_blocks", "upsample", "generator_leak",
    "global_residual", "match_colors", "match_detail", "discriminator", "discriminator_filters", "discriminator_levels",
    "discriminator_leak", "discriminator_norm", "norm", "norm_affine", "norm_epsilon")


def look_up(registry: Mapping, name, option: str):
    """Returns `registry[name]`. `option` is the setting that gave the name.

    A bundle leaves out the entries that its settings do not choose, so every registry is read here.

    Raises:
        UserError: if there is no such entry, with similar names; or if this bundle was made without it.
    """
    if name not in registry:
        option_text = f"--{option.replace('_', '-')} {name}"
        raise UserError(f"{option_text}: there is no such {option}. {suggest_names(name, registry)}")
    entry = registry[name]
    if isinstance(entry, LeftOut):
        raise entry.error(option)
    return entry


def check_field_name(name: str) -> None:
    """Raises UserError, with similar names, if `Config` has no field `name`."""
    if name not in FIELDS:
        raise UserError(f"There is no setting named {name!r}. {suggest_names(name, FIELDS)}")


def check_field_value(name: str, value) -> None:
    """Raises UserError if `value` has the wrong type or is out of range for the field `name`."""
    check_field_name(name)
    field = FIELDS[name]
    option = f"--{name.replace('_', '-')} {value}"
    if type(value) is not field.type and not (field.type is float and type(value) is int):
        raise UserError(f"{option}: expected {field.type.__name__}, got {type(value).__name__}.")
    low, high, choices = (field.metadata[key] for key in ("low", "high", "choices"))
    if choices and value not in choices:
        raise UserError(f"{option}: choose one of {', '.join(choices)}.")
    below = low is not None and not value >= low  # negated so that NaN is rejected
    above = high is not None and not value <= high
    if below or above or value in (float("inf"), float("-inf")) or value != value:
        bounds = [f"at least {low}" if low is not None else "", f"at most {high}" if high is not None else ""]
        raise UserError(f"{option}: must be {' and '.join(filter(None, bounds)) or 'a finite number'}.")


def make_config(**values) -> Config:
    """Returns a validated Config with the given field values, ~ replaced in paths, and defaults for the rest.

    Raises:
        UserError: for an unknown name, a wrong type, a value out of range, or conflicting values.
    """
    for name, value in values.items():
        check_field_value(name, value)
    paths = {name: os.path.expanduser(values[name]) for name in PATH_FIELDS if name in values}
    config = Config(**{name: FIELDS[name].type(value) for name, value in {**values, **paths}.items()})
    check_combinations(config)
    return config
