"""The presets: named sets of values that differ from the defaults of `Config`, with their sources."""

from collections.abc import Mapping

from monet.core.config import Config, check_field_value, look_up, make_config
from monet.core.errors import UserError
from monet.core.options import read_config_values

# What the kit's own presets have in common. It was found with the networks of `cpu` on 300 Monets and 1,408 photos, two
# cores, 4,800 to 19,200 steps; tools/README.md has the table. There, "KID left" is the distance of 300 paintings to 300
# Monets that were not trained on, as a share of the unpainted photos', by EfficientNet-lite0.
OWN_VALUES = {
    "system": "cut",  # KID left 0.75 after 4,800 steps, in less time than CycleGAN's 0.95
    "cycle_weight": 0.0,
    "identity_weight": 0.0,
    "dropout": 0.0,  # together with the decay: KID left 0.62 and 0.66 (two seeds), before 0.75
    "decay_start": 0.5,
    # Without a penalty, the discriminator knew 300 paintings by heart after 5,000 steps, and the run went astray; with
    # 0.1, after 12,000. One of 0.6 held for 19,200 steps, but was too much for the first 4,800: KID left 0.80, with 0.1
    # 0.64, without one 0.70. So it rises: 0.64 after 4,800 steps, 0.54 after 19,200.
    "gradient_penalty": 0.6,
    "penalty_every": 4,  # a step with a penalty took 0.14 s on one core, one without 0.11
    "match_colors": True,  # colours left 0.25 and 0.23 (two seeds), before 0.47 and 0.53; in later runs 0.19 to 0.21
    # Paintings had 4 to 20 dB less detail finer than 3 pixels than Monet's. KID left 0.44, before 0.53, of the same
    # paintings; with seed 1 0.56, before 0.67; after 19,200 steps 0.41 and 0.39, before 0.44 and 0.41.
    "match_detail": True,
    # Of 300 Monets, half have a JPEG quality of 80 or less; the photos' is about 92. KID left 0.53, before 0.64, of the
    # same paintings; with seed 1 0.67, before 0.77; after 19,200 steps 0.44, before 0.54. Photos so compressed: 0.91.
    "match_jpeg": True,
    "select_by": "best",  # hands in a checkpoint from before a collapse
    "upsample": "resize",  # transposed convolutions left checkerboard artifacts in every sky
    "gamma_mean": 1.0,
    "ema_decay": 0.999,  # of the same weights, KID left was 0.54 and 0.59, with 0.995 0.53 and 0.59
    "diffaugment": "color,translation,cutout",
}
# The rest of the presets for accelerators. The batch size scored best in public runs: 37.4 with the tutorial's networks
# at 32, 54 to 79 at 1. On one H200, `cut` with these networks and losses took 0.41 of CycleGAN's time a step; after
# 1,000 steps its KID left was 0.85, CycleGAN's 0.86; after 2,500 the discriminator knew the 300 paintings by heart.
ACCELERATOR_VALUES = {
    **OWN_VALUES,
    "batch_size": 32,
    "generator": "residual_unet",  # skip connections and residual blocks; first layer not normalized
    "generator_levels": 5,
    "paint_margin": 32,  # its residual blocks need multiples of 64 pixels
    "discriminator": "two_objective",
    "adversarial_loss": "hinge",
    "penalty_rise": 800.0,  # as for `cpu`: 2,500 steps of 32 are 267 passes
    "hold_out": 0.1,  # 30 paintings show whether the discriminator knows the others by heart
}
PRESETS = {
    # The Monet CycleGAN tutorial (Amy Jang, Kaggle 2020): the defaults of Config.
    "tutorial": {},
    # TensorFlow's CycleGAN tutorial (tensorflow.org/tutorials/generative/cyclegan) with the networks of its pix2pix
    # example. The Monet tutorial uses the same networks, except for the initial scale of normalization. Jitter 286,
    # mirroring, batch 1, learning rate 2e-4, cycle weight 10 and identity weight 5 are Config's defaults.
    "tf-tutorial": {
        "gamma_mean": 1.0,  # pix2pix.py: N(1, 0.02)
        "norm_epsilon": 1e-5,  # pix2pix.py
        "epochs": 40,
        "checkpoint_epochs": 5,
        "keep_checkpoints": 5,
    },
    # Zhu et al. 2017, "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks", sections 4 and
    # 7; details missing there are from its code (junyanz/pytorch-CycleGAN-and-pix2pix).
    "paper": {
        "generator": "resnet",  # 9 blocks at 256 pixels, 6 at 128; transposed convolutions; reflection padding
        "discriminator_leak": 0.2,
        "norm_affine": False,  # code: InstanceNorm2d's default
        "norm_epsilon": 1e-5,  # code
        "adversarial_loss": "lsgan",
        "image_pool": 50,
        "epochs": 200,
        "steps_per_epoch": 0,  # code: an epoch is one pass over the larger set
        "decay_start": 0.5,  # 100 epochs, then 100 of linear decay
    },
    # The U-Net of David Foster's "Generative Deep Learning" (O'Reilly 2019), chapter 5. For its ResNet, add --generator
    # resnet --upsample transpose. Differences: here the generator's first layer is not normalized, weights are
    # initialized from N(0, 0.02), and the discriminators' output is 30x30 patches, not 32x32.
    "unet-32": {
        "jitter": 0,  # the book resizes and mirrors only
        "generator_filters": 32,
        "generator_levels": 4,
        "upsample": "nearest",  # the book repeats pixels, then convolves with 4x4 kernels
        "dropout": 0.0,
        "generator_leak": 0.0,
        "discriminator_filters": 32,
        "discriminator_leak": 0.2,
        "norm_affine": False,
        "adversarial_loss": "lsgan",  # the book's validation weight is 1
        "identity_weight": 2.0,
        "cycle_weight": 10.0,  # the book's reconstruction weight
        "image_pool": 50,
        "epochs": 200,
    },
    # A U-Net of 4 levels with residual blocks at 16x16, batch normalization, least squares for the generators and
    # cross-entropy for the discriminators, as in a book chapter on CycleGANs in TensorFlow. Least squares are computed
    # on the logits.
    "residual-unet": {
        "generator": "residual_unet",  # 3 blocks of 1x1, 3x3 and 1x1 convolutions with 512 filters
        "generator_levels": 4,
        "dropout": 0.0,
        "discriminator": "strided",
        "discriminator_levels": 4,  # output is 16x16
        "norm": "batch",
        "gamma_mean": 1.0,
        "adversarial_loss": "lsgan",
        "discriminator_loss": "bce",
        "discriminator_weight": 1.0,  # not halved
        "cycle_loss": "l2",
        "cycle_weight": 10.0,
        "identity_weight": 0.1,
        "learning_rate": 1e-4,
    },
    # Park et al. 2020, "Contrastive Learning for Unpaired Image-to-Image Translation", and its code.
    "cut": {
        "system": "cut",  # PatchNCE on 5 encoder layers; 256 patches, temperature 0.07, identity NCE are the defaults
        "generator": "resnet",
        "upsample": "resize",  # code: antialiased up- and downsampling; `resize` is the closest available
        "discriminator_leak": 0.2,
        "norm_affine": False,
        "norm_epsilon": 1e-5,
        "adversarial_loss": "lsgan",
        "cycle_weight": 0.0,
        "identity_weight": 0.0,
        "epochs": 400,
        "steps_per_epoch": 0,
        "decay_start": 0.5,
    },
    # For two CPU cores and a quarter of an hour. DiffAugment keeps the photos nearly unchanged in so few steps: with
    # it, KID left was 1.26 on 100 Monets. On the 80 paintings of the built-in sample, a CycleGAN's paintings turned
    # into streaks from step 2,000 on unless it was on from the start. Hence the limit.
    "cpu": {
        **OWN_VALUES,
        "image_size": 128,  # crops from 286: twice the steps in the same time, and brush strokes keep their size
        "generator_filters": 16,
        "discriminator_filters": 32,
        "penalty_rise": 48.0,  # three times the passes after which 300 paintings were known without a penalty
        "monet_turns": True,  # with 100 of the Monets: KID left 0.75 instead of 0.83; with 300: 0.70 and 0.69
        "augment_most": 90,
        # KID left 0.52 and 0.54, with 5 levels 0.55 and 0.50 (seeds 1 and 2), in a sixth less time a step; a frame of
        # 0.7 and 0.3 levels of 255, with 5 of 2.6 and 1.2.
        "generator_levels": 3,
        "paint_margin": 16,  # seed 1: a frame of 1.3, with 32 of 0.7; a fifth fewer pixels to paint
        # Halos of 1.5, 1.5 and 2.4 levels of 255 after 7,300 steps (seeds 0, 1 and 2), with weight 1.5 of 2.0 and 2.2
        # (seed 0 twice); KID left 0.57, 0.57 and 0.53, with 1.5 0.53 and 0.52.
        "nce_weight": 2.0,
        "checkpoint_minutes": 1.5,  # among which the best is chosen
        "minutes": 8.0,
        "max_minutes": 14.0,
    },
    "gpu": {**ACCELERATOR_VALUES, "minutes": 240.0},  # Kaggle's limit is 5 hours
    "tpu": {**ACCELERATOR_VALUES, "minutes": 150.0},  # Kaggle's limit is 3 hours
}


def resolve_config(overrides: Mapping, config_file: str = "") -> Config:
    """Builds the config for a command line.

    In increasing priority: the defaults, the preset or the values in `config_file`, and `overrides`. With a file, the
    preset's values do not apply: a config.json lists every setting that existed in its version. `epochs` among the
    overrides are the run's length, whatever `minutes` a preset or file has.

    Args:
        overrides: field values by name from the command line, which may include `preset`.
        config_file: path of a run's config.json, or empty.

    Raises:
        UserError: for an unknown preset, a preset together with a file, or values that `make_config` rejects.
    """
    if config_file and "preset" in overrides:
        raise UserError("--preset and --config exclude each other, because the file already has every setting. Give "
                        "only one of them; single settings can be added to either.")
    if "epochs" in overrides:
        overrides = {"minutes": 0.0, **overrides}
    if config_file:
        return make_config(**{**read_config_values(config_file), **overrides})
    preset = overrides.get("preset", Config.preset)
    check_field_value("preset", preset)
    return make_config(**{**look_up(PRESETS, preset, "preset"), **overrides})


def has_presets_minutes(config: Config) -> bool:
    """Whether the config's `minutes` are its preset's, so that nobody chose them for this machine and its limits."""
    return config.minutes > 0 and config.minutes == PRESETS.get(config.preset, {}).get("minutes")
