"""Settings that are valid by themselves but not together."""

from monet.core.errors import UserError


def check_combinations(config) -> None:
    """Raises UserError if values of the `Config` conflict that are valid by themselves."""
    conflicts = (
        (0 < config.jitter < config.image_size,
         f"--jitter {config.jitter} is smaller than --image-size {config.image_size}: a crop needs a larger image. "
         "Give a larger --jitter, or 0 for no crop."),
        (config.system == "cut" and (config.cycle_weight or config.identity_weight),
         f"--system cut has no cycle and ignores --cycle-weight {config.cycle_weight:g} and --identity-weight "
         f"{config.identity_weight:g}. Use --preset cut, or set both to 0."),
        (config.system == "cut" and (config.cycle_fall or config.feature_cycle or config.cycle_loss != "l1"),
         "--system cut has no cycle and ignores --cycle-fall, --feature-cycle and --cycle-loss. Leave them out."),
        (config.generator == "unet" and config.residual_blocks,
         f"--residual-blocks {config.residual_blocks}: --generator unet has none. Use --generator residual_unet or "
         "resnet, or set it to 0."),
        (config.feature_cycle and not config.cycle_weight,
         f"--feature-cycle {config.feature_cycle:g} has no effect with --cycle-weight 0. Give a cycle weight, or set "
         "both to 0."),
        (config.cycle_fall and not (config.cycle_weight or config.identity_weight),
         f"--cycle-fall {config.cycle_fall:g} has no effect with --cycle-weight 0 and --identity-weight 0. Give a "
         "weight, or set it to 0."),
        (config.discriminator == "two_objective" and config.discriminator_loss,
         f"--discriminator-loss {config.discriminator_loss}: --discriminator two_objective has fixed losses, hinge and "
         "bce. Give only --adversarial-loss, for the photos' discriminator."),
        (config.label_smoothing and (config.discriminator == "two_objective"
                                     or (config.discriminator_loss or config.adversarial_loss) == "hinge"),
         f"--label-smoothing {config.label_smoothing:g}: the hinge loss, which --discriminator two_objective has, too, "
         "has no labels. Use bce or lsgan and another discriminator, or leave the smoothing out."),
        (config.penalty_every > 1 and not config.gradient_penalty,
         f"--penalty-every {config.penalty_every} has no effect with --gradient-penalty 0. Give a penalty, or leave it "
         "out."),
        (config.penalty_rise and not config.gradient_penalty,
         f"--penalty-rise {config.penalty_rise:g} has no effect with --gradient-penalty 0. Give a penalty, or leave it "
         "out."),
        (config.augment_target and not config.diffaugment,
         f"--augment-target {config.augment_target:g} has no effect without --diffaugment. Name augmentations, or "
         "leave it out."),
        (config.augment_start and not config.augment_target,
         f"--augment-start {config.augment_start:g} has no effect with --augment-target 0. Give a target (ADA: 0.6), "
         "or leave it out."),
        (config.color_strength != 1 and "color" not in config.diffaugment,
         f"--color-strength {config.color_strength:g} has no effect without color in --diffaugment. Add it, or leave "
         "the strength out."),
    )
    for conflict, message in conflicts:
        if conflict:
            raise UserError(message)
