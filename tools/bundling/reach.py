"""Leaves out of a bundle what its settings cannot reach: used by `bundle.py`.

Two steps. `leave_out` finds the registries, dicts such as SYSTEMS from which `look_up` takes an entry, and puts
LEFT_OUT in the place of the entries that the settings do not choose. `reachable` then follows the names from the code
that starts the run, and drops every function, class and constant that it does not meet.
"""

import ast
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import NamedTuple

from bundling.settings import as_call
from bundling.sources import PACKAGE, Module, bindings, inner_imports, is_import, parsed, target_of, used_names

from monet.core.config import Config
from monet.gan.diffaugment import augmentation_names
from monet.gan.discriminator import head_losses, network_kind

INIT = "__init__"  # in every bundle: it quiets TensorFlow's start
CONFIG = "core.config"
LEFT_OUT = '''

# Stands for each part that this file was made without. The config is the one that it was made for.
LEFT_OUT = LeftOut(MADE_WITH, lambda: SETTINGS, dataclasses.asdict({config}))
'''
Keys = Callable[[Config], Iterable]


def formats_of(config: Config) -> list[str]:
    """The formats that the images may have; those of the competition, if `data` is empty, are TFRecords."""
    if not config.data:
        return ["tfrec"]
    return ["tfds"] if config.data.startswith("tfds:") else ["tfrec", "images", "npy"]


def networks_of(config: Config) -> list[str]:
    """The kinds of the two discriminators."""
    return [network_kind(config, f"{side}_discriminator") for side in ("monet", "photo")]


def losses_of(config: Config) -> list[str]:
    """The adversarial losses of both discriminators and of the settings, which are checked even if none uses them."""
    return [config.adversarial_loss, config.discriminator_loss or config.adversarial_loss,
            *(name for kind in networks_of(config) for name in head_losses(kind, config))]


# The keys that a config chooses of registries whose `look_up` does not get them from `config` directly.
CHOSEN: dict[str, Keys] = {
    "ADVERSARIAL_LOSSES": losses_of,
    "AUGMENTATIONS": augmentation_names,
    "CATALOGUES": lambda config: [config.data.partition(":")[0]],
    "DISCRIMINATORS": networks_of,
    "FORMATS": formats_of,
    "OTHER_LAYOUTS": lambda config: ["folder"] if len(formats_of(config)) > 1 else [],
    "PRESETS": lambda config: [config.preset],  # the run's page compares the settings with their preset's
}


class LookUp(NamedTuple):
    """A call `look_up(registry, key, setting)`: the module that it is in, and its key."""

    module: str
    key: ast.expr

    def value(self, config: Config):
        """Returns the key if it is an expression of `config` and names of the module, such as `config.generator`.

        Raises:
            NameError: if it is not.
        """
        own = vars(import_module(f"{PACKAGE}.{self.module}")) if used_names(self.key) - {"config"} else {}
        return eval(ast.unparse(self.key), {**own, "config": config})


def look_ups(modules: dict[str, Module]) -> dict[str, list[LookUp]]:
    """Returns the calls of `look_up`, by the name of the registry."""
    found = {}
    for name, module in modules.items():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "look_up":
                registry, key, _ = node.args
                if isinstance(registry, ast.Name):
                    found.setdefault(registry.id, []).append(LookUp(name, key))
    return found


def chosen_keys(registry: str, calls: list[LookUp], config: Config) -> set | None:
    """Returns the keys of a registry that the config chooses; None if only the run can know.

    Args:
        registry: its name.
        calls: from `look_ups`.
        config: settled.
    """
    if registry in CHOSEN:
        return set(CHOSEN[registry](config))
    try:
        return {call.value(config) for call in calls}
    except NameError:
        return None


def without_entries(module: Module, entries: ast.Dict, chosen: set) -> Module:
    """Returns the module with LEFT_OUT in the place of the values of `entries` whose keys are not `chosen`."""
    lines = module.text.encode().split(b"\n")  # columns in the tree count bytes
    for key, value in reversed(list(zip(entries.keys, entries.values, strict=True))):  # so that earlier places stay
        if key.value not in chosen and not isinstance(value, ast.Constant):  # None leaves nothing out
            first, last = value.lineno - 1, value.end_lineno - 1
            begin = first
            while lines[begin - 1].lstrip().startswith(b"#"):  # its comment
                begin -= 1
            lines[begin:last + 1] = [lines[first][:value.col_offset] + b"LEFT_OUT" + lines[last][value.end_col_offset:]]
    text = b"\n".join(lines).decode()
    if text == module.text:
        return module
    # The import tells the bundler where LEFT_OUT comes from. It is at the end so that line numbers stay.
    return parsed(module.name, f"{text}\nfrom monet.{CONFIG} import LEFT_OUT\n")


def leave_out(modules: dict[str, Module], config: Config, made_for: Config) -> dict[str, Module]:
    """Returns the modules, without the entries of registries that the config does not choose.

    Args:
        modules: all of the package.
        config: the settled config.
        made_for: the config as asked.
    """
    calls, result = look_ups(modules), dict(modules)
    for name, module in modules.items():
        for node in reversed(module.tree.body):
            is_dict = isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)
            registry = node.targets[0].id if is_dict and isinstance(node.targets[0], ast.Name) else ""
            chosen = chosen_keys(registry, calls[registry], config) if registry in calls else None
            if chosen is not None:
                result[name] = without_entries(result[name], node.value, chosen)
    text = result[CONFIG].text + LEFT_OUT.format(config=as_call(made_for))
    return result | {CONFIG: parsed(CONFIG, text)}


def used_modules(module: Module) -> list[str]:
    """Returns the modules from which the module imports a name that it uses."""
    used = used_names(module.tree)
    return [target_of(node) for node in inner_imports(module) if used & {alias.name for alias in node.names}]


def defined_names(node: ast.stmt) -> set[str]:
    """Returns the names that a statement at the top level of a module defines."""
    return {name for name, _ in bindings(ast.Module([node], [])) if name}


ACTIONS = ""  # stands for the statements of a module that define nothing, and run whenever it is imported


def definitions(module: Module) -> dict[str, list[ast.stmt]]:
    """Returns the statements at the module's top level by the names that they define; `ACTIONS` are the others."""
    found = {ACTIONS: []}
    for node in module.tree.body:
        if not is_import(node):
            for name in defined_names(node) or {ACTIONS}:
                found.setdefault(name, []).append(node)
    return found


def reached_names(modules: dict[str, Module], code: str) -> dict[str, set[str]]:
    """Returns the names that `code` and `INIT` use of each module, directly or through others."""
    origins = {name: {alias.name: target_of(node) for node in inner_imports(module) for alias in node.names}
               for name, module in modules.items()}
    found = {name: definitions(module) for name, module in modules.items()}
    roots = used_names(ast.parse(code))
    pending = [(module, name) for module, names in found.items() for name in names if name in roots]
    reached, pending = {}, [(INIT, ACTIONS), *pending]
    while pending:
        module, name = pending.pop()
        if name in found.get(module, ()) and name not in reached.get(module, ()):
            reached.setdefault(module, set()).add(name)
            used = set().union(*map(used_names, found[module][name]))
            pending += [(module, ACTIONS), *((origins[module].get(other, module), other) for other in used)]
    return reached


def span(module: Module, node: ast.stmt) -> tuple[int, int]:
    """Returns the first and the last line of a statement, numbered from 0, with decorators and the comment above."""
    lines = module.text.splitlines()
    first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))]) - 1
    while first and lines[first - 1].startswith("#"):
        first -= 1
    return first, node.end_lineno - 1


def pruned(module: Module, kept: set[str]) -> Module:
    """Returns the module without the definitions of which no name is among `kept`."""
    lines = module.text.splitlines()
    for node in module.tree.body:
        names = set() if is_import(node) else defined_names(node)
        if names and not names & kept:
            first, last = span(module, node)
            lines[first:last + 1] = [None] * (last + 1 - first)
    return parsed(module.name, "\n".join(line for line in lines if line is not None) + "\n")


def reachable(modules: dict[str, Module], code: str) -> dict[str, Module]:
    """Returns `INIT` and the modules that `code` uses, directly or through others, without what is unused of them."""
    reached = reached_names(modules, code)
    return {name: pruned(module, reached[name]) for name, module in modules.items() if name in reached}
