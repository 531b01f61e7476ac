"""The order in which a bundle tells its story, and the words of its headings: used by `bundle.py`."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from bundling.reach import INIT, used_modules
from bundling.sources import Module, inner_imports, outer_imports, target_of

from monet.core.errors import UserError

MACHINE = "machine.tpu_environment"  # prepares the machine before TensorFlow is imported


@dataclass(frozen=True)
class Part:
    """A part of the bundle under a heading.

    Attributes:
        title: the heading.
        text: what the part does, in a few sentences.
        modules: names of its modules in reading order; those that the settings do not reach are skipped.
    """

    title: str
    text: str
    modules: tuple[str, ...] = ()


SETTINGS = Part(
    "Settings",
    "Everything that you may want to change is here. Each setting has a comment that says what it does and where its "
    "value comes from.")
PREPARATION = Part(
    "The machine",
    "What the rest imports, what it knows of Kaggle's machine, and the time at which the kernel started.")
TPU_PREPARATION = Part(
    "The machine",
    "On Kaggle's TPU machines, the installed TensorFlow cannot use the TPU. This part finds that out and installs one "
    "that can, in an environment of its own. It must run before anything imports TensorFlow.")
PARTS = (
    Part("What the settings mean",
         "Config holds the settings of a run. Values of the wrong type, out of range, or in contradiction to each "
         "other are refused before anything else is done.",
         ("core.left_out", "core.conflicts", "core.config")),
    Part("From files to batches",
         "The photos and the paintings are read from TFRecords, cropped and mirrored at random, and shuffled. The "
         "result is an endless stream of batches in which photos and paintings are not paired.",
         ("core.pixels", "data.formats", "data.records", "data.hold_out", "data.pipeline")),
    Part("The networks",
         "A generator repaints an image; a discriminator judges, patch by patch, if an image is real. Both are "
         "convolutional networks, built by name from the settings.",
         ("networks.layers", "networks.color_curves", "networks.detail_filter", "networks.generators",
          "networks.spectral", "networks.discriminators", "networks.build")),
    Part("The losses",
         "Adversarial losses make paintings look real; cycle and identity losses keep what the photo shows. Random "
         "changes to the images (DiffAugment) keep the discriminator from memorizing the few paintings.",
         ("gan.losses", "gan.diffaugment", "gan.adaptive", "gan.instance_noise", "gan.gradient_penalty",
          "gan.discriminator")),
    Part("The training step",
         "One batch of photos and one of paintings give the losses of all networks and their gradients. The optimizers "
         "then change the weights.",
         ("gan.cyclegan", "gan.cut", "training.train_step")),
    Part("What the step relies on",
         "The optimizers with their learning rate and moving averages, the pool of past fakes, and loss scaling for "
         "float16. The rest makes layers faster on a TPU without changing their results.",
         ("gan.optimizers", "gan.image_pool", "gan.loss_scale", "core.random_numbers", "networks.step_calls",
          "networks.tiled_layers", "networks.space_to_depth", "core.keras_compat")),
    Part("The training loop",
         "The trainer makes steps until the last epoch or the time limit, and saves checkpoints, previews and the "
         "history of the losses. If the losses diverge, it returns to the last checkpoint.",
         ("gan.systems", "training.settled", "training.engines", "training.engine",
          "machine.jax_devices", "machine.jax_functions", "training.jax_engine", "training.first_call",
          "training.trainer", "training.readings", "training.overfitting", "training.run_state", "training.pace",
          "training.deadline",
          "training.checkpoint", "training.changes", "training.state", "core.array_files", "training.arrays",
          "training.history", "training.run_files", "training.run_lock", "training.selection", "training.selections",
          "training.best_judge", "training.choice", "scoring.colour", "training.inception_scores",
          "training.best_generator", "training.watchdog")),
    Part("Painting",
         "The trained generator becomes a function from photos to paintings. All devices share a batch.",
         ("submission.painter", "training.matching")),
    Part("The submission",
         "Every photo is painted, encoded as JPEG and written to images.zip. The zip is then checked against all that "
         "Kaggle is known to refuse.",
         ("submission.images_zip", "submission.jpegs", "submission.names", "submission.check")),
)
HELPERS = Part(
    "Helpers",
    "The parts above call these modules: to find and check the data, choose the device, report progress, and write "
    "files atomically. You need not read them to follow the method.")
RUN = Part(
    "The run",
    "Everything above only defines functions; this part runs them. It finds the data among Kaggle's inputs, and the "
    "checkpoint of an earlier run if there is one, then trains, paints, and writes to Kaggle's working folder.",
    ("training.session", "training.run", "training.salvage", "training.smoke", "kaggle_run"))
# Modules whose notebook cells are not collapsed: those that tell how the method works.
OPEN_CELLS = ("data.pipeline", "networks.generators", "networks.discriminators", "gan.losses", "gan.cyclegan",
              "gan.cut", "training.train_step", "submission.painter")


def used_on_import(tree: ast.AST) -> Iterator[str]:
    """Yields the names that code uses when it is run, as opposed to when its functions are called later."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Name):
            yield node.id
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            # Decorators, default values and annotations are evaluated with the definition, the body is not.
            for part in [*getattr(node, "decorator_list", []), node.args, getattr(node, "returns", None)]:
                if part is not None:
                    yield from ([part.id] if isinstance(part, ast.Name) else used_on_import(part))
        else:
            yield from used_on_import(node)


def needed_before(module: Module) -> list[str]:
    """Returns the modules whose names the module uses when it is run, which must come before it in one file."""
    used = set(used_on_import(module.tree))
    return [target_of(node) for node in inner_imports(module) if used & {alias.name for alias in node.names}]


def machine_modules(modules: dict[str, Module]) -> list[Module]:
    """Returns the modules that prepare the machine, each after those that it uses.

    Raises:
        UserError: if one imports anything but the standard library.
    """
    ordered = {}

    def visit(name: str) -> None:
        if name not in ordered:
            for used in used_modules(modules[name]):
                visit(used)
            ordered[name] = modules[name]

    for name in (INIT, MACHINE):
        visit(name)
    for module in ordered.values():
        for node, items in outer_imports(module):
            if not all(item.is_standard for item in items):
                raise UserError(f"{module.line_of(node)}: this module runs before TensorFlow may be imported. Import "
                                "only the standard library in it.")
    return list(ordered.values())


def in_reading_order(modules: dict[str, Module]) -> list[tuple[Part, list[Module]]]:
    """Returns the parts with their modules, without those of `machine_modules`.

    A module that another needs when that is run comes directly before it, even if it belongs to a later part.

    Raises:
        UserError: if modules need each other in a circle.
    """
    placed = {module.name for module in machine_modules(modules)}
    named = {name for part in (*PARTS, RUN) for name in part.modules}
    others = tuple(name for name in modules if name not in named)

    def visit(name: str, visiting: tuple[str, ...]) -> Iterator[Module]:
        if name in visiting:
            raise UserError(f"These modules need each other when they are imported: {', '.join(visiting)}. Move what "
                            "they share to another module.")
        if name in modules and name not in placed:
            for needed in needed_before(modules[name]):
                yield from visit(needed, (*visiting, name))
            placed.add(name)
            yield modules[name]

    story = []
    for part, names in (*((part, part.modules) for part in PARTS), (HELPERS, others), (RUN, RUN.modules)):
        contents = [module for name in names for module in visit(name, ())]
        if contents:
            story.append((part, contents))
    return story
