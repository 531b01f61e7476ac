"""Leaves out of a bundle what its settings cannot reach: used by `bundle.py`.

Two steps. `leave_out` replaces the entries of registries (dicts such as SYSTEMS) that the settings do not choose by a
LeftOut, which tells how to make a bundle with them. `reachable` then follows the imports from `kaggle_run`, ignoring
imported names that are no longer used.
"""

import ast
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from bundling.sources import WIDTH, Module, inner_imports, target_of

from monet.core.config import Config
from monet.core.errors import UserError

INIT = "__init__"  # in every bundle: it quiets TensorFlow's start


@dataclass(frozen=True)
class OptionalEntry:
    """An entry of a registry that only some settings need.

    Attributes:
        module: defines the registry.
        registry: a dict at the module's top level.
        key: the entry's key.
        is_needed: whether a config needs the entry.
        settings: values of fields that, in any config, need the entry and contradict nothing.
    """

    module: str
    registry: str
    key: str
    is_needed: Callable[[Config], bool]
    settings: Mapping

    def options(self, config: Config) -> str:
        """Returns the command-line options that change the config so that it needs the entry."""
        return " ".join(f"--{name.replace('_', '-')} {value}" for name, value in self.settings.items()
                        if getattr(config, name) != value)


OPTIONAL_ENTRIES = (
    OptionalEntry("gan.systems", "SYSTEMS", "cyclegan", lambda config: config.system == "cyclegan",
                  {"system": "cyclegan"}),
    OptionalEntry("gan.systems", "SYSTEMS", "cut", lambda config: config.system == "cut",
                  {"system": "cut", "cycle_weight": 0, "identity_weight": 0, "cycle_fall": 0, "feature_cycle": 0,
                   "cycle_loss": "l1"}),
    OptionalEntry("training.trainer", "SELECTIONS", "mifid", lambda config: config.select_by == "mifid",
                  {"select_by": "mifid"}),
    # If `data` is empty, the images are the competition's: TFRecords and image files.
    OptionalEntry("data.records", "FORMATS", "npy",
                  lambda config: bool(config.data) and not config.data.startswith("tfds:"),
                  {"data": "/kaggle/input/FOLDER"}),
    OptionalEntry("data.layouts", "CATALOGUES", "tfds", lambda config: config.data.startswith("tfds:"),
                  {"data": "tfds:NAME"}),
)


def entry_value(module: Module, entry: OptionalEntry) -> ast.expr:
    """Returns the entry's value in the module's source.

    Raises:
        UserError: if there is no such registry or entry.
    """
    for node in module.tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict) and node.targets[0].id == entry.registry:
            for key, value in zip(node.value.keys, node.value.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == entry.key:
                    return value
    raise UserError(f"src/{module.path} has no dict {entry.registry} with the key {entry.key!r}. Update "
                    "OPTIONAL_ENTRIES in tools/bundling/reach.py.")


def replace_entry(module: Module, entry: OptionalEntry, options: str) -> Module:
    """Returns the module with a LeftOut in the place of the entry's value; `options` make a bundle that has it."""
    value = entry_value(module, entry)
    lines = module.text.encode().split(b"\n")  # columns in the tree count bytes
    first, last = value.lineno - 1, value.end_lineno - 1
    before, after = lines[first][:value.col_offset], lines[last][value.end_col_offset:]
    argument = f'f"{{MADE_WITH}} {options}"'.encode()
    line = before + b"LeftOut(" + argument + b")" + after
    lines[first:last + 1] = [line] if len(line) <= WIDTH else [before + b"LeftOut(", b"    " + argument + b")" + after]
    # The import tells the bundler where LeftOut comes from. It is at the end so that line numbers stay.
    text = b"\n".join(lines).decode() + "\nfrom monet.core.left_out import LeftOut\n"
    return Module(module.name, text, ast.parse(text))


def leave_out(modules: dict[str, Module], config: Config) -> dict[str, Module]:
    """Returns the modules, with a LeftOut for each of `OPTIONAL_ENTRIES` that the config does not need."""
    modules = dict(modules)
    for entry in OPTIONAL_ENTRIES:
        if not entry.is_needed(config):
            modules[entry.module] = replace_entry(modules[entry.module], entry, entry.options(config))
    return modules


def used_modules(module: Module) -> list[str]:
    """Returns the modules from which the module imports a name that it uses."""
    used = {node.id for node in ast.walk(module.tree) if isinstance(node, ast.Name)}
    return [target_of(node) for node in inner_imports(module) if used & {alias.name for alias in node.names}]


def reachable(modules: dict[str, Module], entries: Iterable[str]) -> dict[str, Module]:
    """Returns the modules that `entries` use, directly or through others, and `INIT`."""
    reached, pending = {}, [INIT, *entries]
    while pending:
        name = pending.pop()
        if name in modules and name not in reached:
            reached[name] = modules[name]
            pending += used_modules(modules[name])
    return reached
