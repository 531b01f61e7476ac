"""Every knob of a run in one frozen dataclass, its checks, and its form as command line and as JSON."""

import dataclasses
import json
from collections.abc import Mapping

from monet.core.errors import UserError, near_names

VERSION = "0.1.0"
SUBMISSION_SIZE = 256  # pixels a side: the competition takes no other size
FEWEST_IMAGES, MOST_IMAGES = 7000, 10000  # what the competition takes


def knob(default, help: str, *, low=None, high=None, choices: tuple = ()):
    """A field of `Config`: its default, its one-line explanation, and the values it allows."""
    return dataclasses.field(
        default=default, metadata={"help": help, "low": low, "high": high, "choices": choices})


@dataclasses.dataclass(frozen=True)
class Config:
    """One run. The defaults are those of the Monet CycleGAN tutorial; `monet.presets` holds the others."""

    preset: str = knob("tutorial", "named configuration that the other fields start from")
    data: str = knob("", "folder or gs:// address of the images, or tfds:NAME of a TensorFlow dataset; empty: "
                         "data/gan-getting-started, else Kaggle's mount")
    swap_sides: bool = knob(False, "take the second side of the data as the paintings (trainB, photo_tfrec)")
    out: str = knob("submission", "folder for everything that the run writes")
    resume: bool = knob(True, "go on from the newest checkpoint in `out`; false sets that run aside")
    seed: int = knob(0, "seed of every random number", low=0, high=2**31 - 1)

    accelerator: str = knob("auto", "device to train on", choices=("auto", "tpu", "gpu", "cpu"))
    precision: str = knob("auto", "number format of the networks' arithmetic; auto: bfloat16 on a TPU and on GPUs that "
                          "have it, float16 with loss scaling on a T4, float32 on a CPU",
                          choices=("auto", "float32", "bfloat16", "float16"))
    xla: str = knob("auto", "compile the training step with XLA; auto: on GPUs (on a CPU it is 3 times slower; a TPU "
                    "always does)", choices=("auto", "on", "off"))
    steps_per_call: int = knob(0, "steps that the device makes at one call of the host; 0: 25 on TPU and GPU, 1 on a "
                               "CPU", low=0, high=1000)

    space_to_depth: str = knob("auto", "fold the outermost pixels into channels, which saves a TPU half its memory "
                               "traffic and computes the same; auto: on a TPU", choices=("auto", "on", "off"))

    image_size: int = knob(256, "pixels a side of the training images (competition: 256)", low=32)
    jitter: int = knob(286, "pixels a side before the random crop to image_size (paper: 286); 0: no crop", low=0)
    mirror: bool = knob(True, "mirror every second training image at random (paper)")
    batch_size: int = knob(1, "images of each set a step, over all devices (tutorial: 1)", low=1)
    epochs: int = knob(25, "epochs (tutorial: 25)", low=1)
    steps_per_epoch: int = knob(300, "steps an epoch (tutorial: 300, one a painting); 0: the larger set once (paper)",
                                low=0)

    system: str = knob("cyclegan", "what is trained: cyclegan, or cut with one generator and one discriminator")
    generator: str = knob("unet", "generator network: unet, resnet or residual_unet")
    generator_filters: int = knob(64, "filters of the generator's first layer (tutorial: 64)", low=1)
    generator_levels: int = knob(8, "times a U-Net halves the image (tutorial: 8, down to 1x1)", low=1, high=16)
    residual_blocks: int = knob(0, "residual blocks; 0: of resnet 9, or 6 below 256 pixels (paper), of residual_unet 3",
                                low=0)
    upsample: str = knob("transpose", "how the generator doubles the image: transposed convolution (tutorial); resize "
                         "bilinearly and convolve, which leaves no checkerboard; or repeat pixels and convolve 4x4 "
                         "(unet-32)", choices=("transpose", "resize", "nearest"))
    dropout: float = knob(0.5, "share dropped in a U-Net's first three up-blocks (tutorial: 0.5)", low=0.0, high=0.95)
    generator_leak: float = knob(0.3, "slope of a U-Net's down-blocks below zero (tutorial: Keras's 0.3); 0: ReLU",
                                 low=0.0, high=1.0)
    discriminator: str = knob("patch", "discriminator network: patch; strided; or two_objective, for the paintings, "
                              "beside patch for the photos")
    discriminator_filters: int = knob(64, "filters of the discriminator's first layer (tutorial: 64)", low=1)
    discriminator_levels: int = knob(3, "times the discriminator halves the image (paper: 3, for 70x70 patches)", low=1,
                                    high=16)
    discriminator_leak: float = knob(0.3, "slope of the discriminator below zero (tutorial: Keras's 0.3, paper: 0.2)",
                                     low=0.0, high=1.0)
    norm: str = knob("instance", "normalization layer: instance or batch")
    norm_affine: bool = knob(True, "normalization learns a scale and a shift (tutorial: yes, paper: no)")
    norm_epsilon: float = knob(1e-3, "what normalization adds to the variance (tutorial: 1e-3, paper: 1e-5)",
                               low=1e-12, high=1.0)
    gamma_mean: float = knob(0.0, "mean of the normal distribution that normalization's scale starts from "
                             "(tutorial: 0)")
    gamma_stddev: float = knob(0.02, "its standard deviation (tutorial: 0.02)", low=0.0)

    adversarial_loss: str = knob("bce", "loss of the discriminators' game: bce (tutorial), lsgan (paper) or hinge")
    discriminator_loss: str = knob("", "the discriminators' own loss, if it is not that of their game: bce, lsgan or "
                                   "hinge")
    discriminator_weight: float = knob(0.5, "weight of the discriminators' loss (paper: 0.5); with Adam it changes "
                                       "little but the log", low=1e-6)
    cycle_loss: str = knob("l1", "distance of the cycle and the identity loss: l1 (paper) or l2")
    cycle_weight: float = knob(10.0, "weight of the cycle loss (paper: 10)", low=0.0)
    identity_weight: float = knob(5.0, "weight of the identity loss (paper: half the cycle weight)", low=0.0)
    cycle_fall: float = knob(0.0, "share of the cycle and identity weights that is gone at the run's end, linearly "
                             "(Better Cycles: nearly all)", low=0.0, high=1.0)
    feature_cycle: float = knob(0.0, "share of the cycle loss that is measured on the discriminator's features at the "
                                "end of the run, rising linearly from none (Better Cycles: 0.999)", low=0.0, high=1.0)
    nce_weight: float = knob(1.0, "cut: weight of the contrastive loss (CUT: 1)", low=0.0)
    nce_identity: bool = knob(True, "cut: the contrastive loss on paintings, too (CUT: yes, FastCUT: no)")
    nce_patches: int = knob(256, "cut: places compared in each layer (CUT: 256)", low=2, high=4096)
    nce_temperature: float = knob(0.07, "cut: temperature of the contrastive loss (CUT: 0.07)", low=1e-3)

    image_pool: int = knob(0, "past fakes that a discriminator may be shown in place of new ones, on each device "
                           "(paper: 50)", low=0)
    diffaugment: str = knob("", "what is drawn anew for every picture the Monet discriminator sees, of color, "
                            "translation, cutout, joined by commas (DiffAugment: all three)")
    augment_most: int = knob(0, "most paintings that diffaugment is for: a larger set is shown as it is; 0: any number",
                             low=0)
    learning_rate: float = knob(2e-4, "Adam's step size (paper: 2e-4)", low=1e-8, high=1.0)
    decay_start: float = knob(1.0, "share of the run after which the learning rate falls, linearly, to 0 at its end "
                              "(paper: 0.5); 1: never", low=0.0, high=1.0)
    beta_1: float = knob(0.5, "Adam's first-moment decay (paper: 0.5)", low=0.0, high=0.9999)
    ema_decay: float = knob(0.0, "decay a step of the generators' moving average, which paints; 0: none",
                            low=0.0, high=0.99999)

    max_minutes: float = knob(0.0, "end this session of the run, images.zip included, within this time, however far "
                               "--decay-start and --cycle-fall, which count over all epochs, have come; 0: no limit",
                              low=0.0)
    checkpoint_minutes: float = knob(10.0, "minutes between checkpoints", low=0.0)
    checkpoint_epochs: int = knob(0, "epochs between checkpoints instead (TensorFlow's tutorial: 5); 0: by minutes",
                                  low=0)
    keep_checkpoints: int = knob(5, "newest checkpoints to keep (TensorFlow's tutorial: 5)", low=1)
    select_by: str = knob("last", "which generator is handed in: the last; or, by mifid, the best at a checkpoint, as "
                          "measured with the FID Inception's weights, if they are on this machine",
                          choices=("last", "mifid"))
    select_photos: int = knob(1000, "photos that are painted to measure a checkpoint, always the same ones", low=2)
    preview_minutes: float = knob(2.0, "minutes between preview pictures", low=0.0)
    tensorboard: bool = knob(True, "write TensorBoard scalars and previews to out/tensorboard")

    num_images: int = knob(0, "images in images.zip; 0: every photo once, filled up with variants to 7,000",
                           low=0, high=MOST_IMAGES)
    paint_margin: int = knob(0, "pixels mirrored around a picture before it is painted, and cut off after: without "
                             "them a network trained on crops paints frames", low=0, high=SUBMISSION_SIZE // 2)
    image_names: str = knob("number", "names in images.zip: 0001.jpg…, or the photo's own image_name",
                            choices=("number", "image_name"))
    jpeg_quality: int = knob(95, "JPEG quality of the painted images (PIL's own default of 75 costs score)",
                             low=1, high=100)
    jpeg_subsampling: str = knob("4:4:4", "JPEG chroma subsampling", choices=("4:4:4", "4:2:2", "4:2:0"))

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        return self.epochs * self.steps_per_epoch


FIELDS = {field.name: field for field in dataclasses.fields(Config)}
# A checkpoint fits a run only if these agree.
ARCHITECTURE_FIELDS = (
    "system", "generator", "generator_filters", "generator_levels", "residual_blocks", "upsample", "generator_leak",
    "discriminator", "discriminator_filters", "discriminator_levels", "discriminator_leak", "norm", "norm_affine",
    "norm_epsilon")
# What fields were called in the config.json of earlier versions.
FORMER_NAMES = {"jitter_size": "jitter"}


def pick(registry: Mapping, name: str, option: str):
    """`registry[name]`, or a UserError that names the option and offers near names."""
    if name not in registry:
        raise UserError(f"--{option.replace('_', '-')} {name}: there is no such {option}. {near_names(name, registry)}")
    return registry[name]


def check_field_name(name: str) -> None:
    """Raises UserError, offering near names, if `name` is no field of `Config`."""
    if name not in FIELDS:
        raise UserError(f"There is no setting named {name!r}. {near_names(name, FIELDS)}")


def parse_field(name: str, text: str):
    """The value of field `name` that the command line's `text` stands for.

    Raises:
        UserError: for an unknown field or text that is not of its type.
    """
    check_field_name(name)
    kind = FIELDS[name].type
    option = f"--{name.replace('_', '-')} {text}"
    if kind is bool:
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if text.lower() not in words:
            raise UserError(f"{option}: expected true or false.")
        return words[text.lower()]
    try:
        return kind(text)
    except ValueError:
        expected = {int: "a whole number", float: "a number"}[kind]
        raise UserError(f"{option}: expected {expected}.") from None


def check_field_value(name: str, value) -> None:
    """Raises UserError if `value` is not of the type, or not in the range, that field `name` allows."""
    check_field_name(name)
    field = FIELDS[name]
    option = f"--{name.replace('_', '-')} {value}"
    fits = type(value) is field.type or (field.type is float and type(value) is int)
    if not fits:
        raise UserError(f"{option}: expected {field.type.__name__}, got {type(value).__name__}.")
    low, high, choices = (field.metadata[key] for key in ("low", "high", "choices"))
    if choices and value not in choices:
        raise UserError(f"{option}: choose one of {', '.join(choices)}.")
    below = low is not None and not value >= low  # written so that nan is refused
    above = high is not None and not value <= high
    if below or above or value in (float("inf"), float("-inf")) or value != value:
        bounds = [f"at least {low}" if low is not None else "", f"at most {high}" if high is not None else ""]
        raise UserError(f"{option}: must be {' and '.join(filter(None, bounds)) or 'a finite number'}.")


def make_config(**values) -> Config:
    """A checked Config from field values; what is not given keeps its default.

    Raises:
        UserError: for an unknown name, a wrong type, a value out of range, or values that contradict each other.
    """
    for name, value in values.items():
        check_field_value(name, value)
    config = Config(**{name: FIELDS[name].type(value) for name, value in values.items()})
    check_together(config)
    return config


def check_together(config: Config) -> None:
    """Raises UserError if values contradict each other, each of them allowed by itself."""
    contradictions = (
        (0 < config.jitter < config.image_size,
         f"--jitter {config.jitter} is smaller than --image-size {config.image_size}: a crop needs a larger picture. "
         "Give 0 for no crop, or a larger size."),
        (config.system == "cut" and (config.cycle_weight or config.identity_weight),
         f"--system cut has no way back, so that --cycle-weight {config.cycle_weight:g} and --identity-weight "
         f"{config.identity_weight:g} mean nothing to it. Take --preset cut, or give 0 for both."),
        (config.system == "cut" and (config.cycle_fall or config.feature_cycle or config.cycle_loss != "l1"),
         "--system cut has no way back: --cycle-fall, --feature-cycle and --cycle-loss mean nothing to it. Leave them "
         "out."),
        (config.generator == "unet" and config.residual_blocks,
         f"--residual-blocks {config.residual_blocks}: --generator unet has none. Give --generator residual_unet or "
         "resnet, or 0."),
        (config.feature_cycle and not config.cycle_weight,
         f"--cycle-weight 0 leaves nothing for --feature-cycle {config.feature_cycle:g} to change. Give a weight, or 0 "
         "for both."),
        (config.cycle_fall and not (config.cycle_weight or config.identity_weight),
         f"--cycle-weight 0 and --identity-weight 0 leave nothing for --cycle-fall {config.cycle_fall:g} to change. "
         "Give a weight, or 0 for it."),
        (config.discriminator == "two_objective" and config.discriminator_loss,
         f"--discriminator-loss {config.discriminator_loss}: the heads of --discriminator two_objective have losses of "
         "their own, hinge and bce. Give only --adversarial-loss, for the photos' discriminator."),
    )
    for contradiction, message in contradictions:
        if contradiction:
            raise UserError(message)


def read_config_values(path: str) -> dict:
    """The field values that the JSON file at `path` holds, not yet checked.

    Raises:
        UserError: if the file cannot be read or is not a JSON object.
    """
    try:
        with open(path, encoding="utf-8") as file:
            values = json.load(file)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}. Give --config the config.json of a run.") from None
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}. Give --config the config.json of a run.") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} holds no settings: it must be a JSON object. Give --config the config.json of a run.")
    return {FORMER_NAMES.get(name, name): value for name, value in values.items()}
