"""The named configurations: what each changes of the defaults, and where it comes from."""

from collections.abc import Mapping

from monet.core.config import Config, check_field_value, make_config, pick, read_config_values
from monet.core.errors import UserError

# What the kit's own systems for accelerators share. The batch is what scored best in public runs (37.4 for the
# tutorial's networks at 32, 54 to 79 at 1); the other parts are those of public recipes whose scores, or whose parts'
# share in them, nobody has published. Measured here, with the networks of `cpu` on 300 Monets and 1,408 photos, 2,500
# steps each: all three augmentations left the grid of neighbouring frequencies at 1.06 times the photos', translation
# and cutout alone at 3.4, which shows. Nothing of this has run on an accelerator yet.
KIT = {
    "batch_size": 32,  # best public score of the tutorial's networks: 37.4, at 22 times its throughput
    "generator": "residual_unet",  # skip connections and residual blocks, no normalization in the first layer
    "generator_levels": 5,
    "upsample": "resize",  # transposed convolutions leave a checkerboard
    "gamma_mean": 1.0,
    "discriminator": "two_objective",
    "adversarial_loss": "hinge",
    "diffaugment": "color,translation,cutout",
    "cycle_weight": 3.0,
    "identity_weight": 0.5,  # as measured for `cpu`
    "cycle_fall": 0.5,
    "decay_start": 0.5,
    "ema_decay": 0.999,
}
PRESETS = {
    # The Monet CycleGAN tutorial (Amy Jang, Kaggle 2020): Config's own defaults.
    "tutorial": {},
    # TensorFlow's CycleGAN tutorial (tensorflow.org/tutorials/generative/cyclegan) with the networks of its pix2pix
    # example: those of the Monet tutorial, which took them over, but for the start of normalization's scale.
    "tf-tutorial": {
        "gamma_mean": 1.0,  # pix2pix.py: N(1, 0.02)
        "norm_epsilon": 1e-5,  # pix2pix.py
        "epochs": 40,
        "checkpoint_epochs": 5,  # beside these, Config's: jitter 286, mirror, batch 1, 2e-4, cycle 10, identity 5
        "keep_checkpoints": 5,
    },
    # Zhu et al. 2017, "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks", sections 4 and
    # 7, and its code (junyanz/pytorch-CycleGAN-and-pix2pix) for what they do not say.
    "paper": {
        "generator": "resnet",  # 9 blocks at 256 pixels, 6 at 128; transposed convolutions; reflection padding
        "discriminator_leak": 0.2,
        "norm_affine": False,  # code: InstanceNorm2d's default
        "norm_epsilon": 1e-5,  # likewise
        "adversarial_loss": "lsgan",
        "image_pool": 50,
        "epochs": 200,
        "steps_per_epoch": 0,  # code: an epoch is the larger set once
        "decay_start": 0.5,  # 100 epochs, then 100 of linear decay
    },
    # The U-Net of David Foster's "Generative Deep Learning" (O'Reilly 2019), chapter 5. Its ResNet is --generator
    # resnet, to the letter with --upsample transpose. Different here: the generator's first layer is not normalized,
    # kernels start from N(0, 0.02), and the discriminators' maps have 30 patches a side, not 32.
    "unet-32": {
        "jitter": 0,  # the book only resizes and mirrors
        "generator_filters": 32,
        "generator_levels": 4,
        "upsample": "nearest",  # the book resizes by repeating pixels, with 4x4 kernels
        "dropout": 0.0,
        "generator_leak": 0.0,
        "discriminator_filters": 32,
        "discriminator_leak": 0.2,
        "norm_affine": False,
        "adversarial_loss": "lsgan",  # validation weight 1
        "identity_weight": 2.0,
        "cycle_weight": 10.0,  # the book's reconstruction weight
        "image_pool": 50,
        "epochs": 200,
    },
    # A U-Net of 4 levels with residual blocks at 16x16, batch normalization, least squares for the generators beside
    # cross-entropy for the discriminators, as a book chapter on CycleGANs in TensorFlow has it. Least squares are taken
    # of the logits.
    "residual-unet": {
        "generator": "residual_unet",  # 3 blocks of 1x1, 3x3 and 1x1 with 512 filters
        "generator_levels": 4,
        "dropout": 0.0,
        "discriminator": "strided",
        "discriminator_levels": 4,  # ends in 16x16
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
        "system": "cut",  # PatchNCE on 5 encoder layers, 256 patches, temperature 0.07, identity NCE: Config's own
        "generator": "resnet",
        "upsample": "resize",  # code: antialiased up- and downsampling; this is the nearest that is here
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
    # For two cores and a quarter of an hour. Decided on 300 Monets and 1,408 photos of monet2photo, with 150 to 240 s
    # of training for each choice, by looking at the paintings and by the distance of the colours of 200 of them from
    # the Monets' (sliced Wasserstein over 4 scales; the photos themselves: 72; the Monets' two halves: 13). With the
    # tutorial's losses it stayed at 58 to 61; cycle weight 3 and identity weight 0.5 brought it to 30.
    # On the 80 paintings of the built-in sample the discriminator then knew them all from step 2,000 on, and the
    # paintings ended as streaks. DiffAugment keeps it from that, if it is there from the start: one that grew with the
    # discriminator's certainty, as in ADA, came too late. On the 300 Monets, which it does not learn by heart in these
    # steps, augmentation only held it back: the photos stayed nearly as they were.
    "cpu": {
        "image_size": 128,  # crops of the 286: twice the steps in the same time, and strokes keep their size
        "generator_filters": 16,
        "generator_levels": 5,
        "discriminator_filters": 32,
        "upsample": "resize",  # transposed convolutions left a checkerboard in every sky
        "gamma_mean": 1.0,
        "cycle_weight": 3.0,
        "identity_weight": 0.5,
        "diffaugment": "color,translation,cutout",
        "augment_most": 200,
        "ema_decay": 0.995,
        "paint_margin": 16,
        "epochs": 16,
        "max_minutes": 14.0,
    },
    "gpu": {**KIT, "epochs": 24},  # 7,200 steps: two T4s make about as many in five hours, it is estimated
    "tpu": {**KIT, "epochs": 30, "steps_per_epoch": 1000},  # under three hours at the 0.18 s a step of public runs
}


def resolve_config(overrides: Mapping, config_file: str = "") -> Config:
    """The config that a command line asks for.

    Later wins: Config's defaults, then the preset or, instead, the fields of `config_file`, then `overrides`. A run's
    config.json says every setting; one of an earlier version, all that there were.

    Args:
        overrides: field values by name, as the command line gives them; `preset` among them.
        config_file: path of a run's config.json, or empty.

    Raises:
        UserError: for an unknown preset, a preset beside a file, or anything that `make_config` refuses.
    """
    if config_file and "preset" in overrides:
        raise UserError("--preset and --config exclude each other: the file already says every setting. Give one of "
                        "them, and single settings beside it.")
    if config_file:
        return make_config(**{**read_config_values(config_file), **overrides})
    preset = overrides.get("preset", Config.preset)
    check_field_value("preset", preset)
    return make_config(**{**pick(PRESETS, preset, "preset"), **overrides})
