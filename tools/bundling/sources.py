"""Reads the modules of `src/monet/`, sees that they can stand in one file, and orders them: the work of `bundle.py`."""

import ast
import builtins
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from monet.core.errors import UserError

PACKAGE = "monet"
ENTRY = "kaggle_run"  # the module whose imports, followed in order, give the order of the modules
SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


@dataclass(frozen=True)
class Module:
    """One module of the package."""

    name: str  # without the package: core.config
    text: str
    tree: ast.Module

    @property
    def path(self) -> str:
        """Its file, from the folder of the package: monet/core/config.py."""
        return f"{PACKAGE}/{self.name.replace('.', '/')}.py"

    def place(self, node: ast.AST) -> str:
        """Where the node stands, for messages: src/monet/config.py:12."""
        return f"src/{self.path}:{node.lineno}"


@dataclass(frozen=True)
class Outside:
    """One name imported from outside the package, at the top of a module."""

    source: str  # the module it is from; "" for `import x`
    name: str
    alias: str  # "" without `as`
    comment: str  # what stands behind the import, "" or "# …"

    @property
    def bound(self) -> str:
        """The name that it has in the file."""
        return self.alias or (self.name if self.source else self.name.split(".")[0])

    @property
    def is_standard(self) -> bool:
        """Whether it is from the standard library."""
        return (self.source or self.name).split(".")[0] in sys.stdlib_module_names


def read_modules(folder: Path) -> dict[str, Module]:
    """The modules of the package in `folder` by name, but for `__main__`.

    Raises:
        UserError: if there are none, or one is not Python.
    """
    modules = {}
    for path in sorted(folder.rglob("*.py")):
        name = ".".join(path.relative_to(folder).with_suffix("").parts)
        text = path.read_text(encoding="utf-8")
        try:
            modules[name] = Module(name, text, ast.parse(text))
        except SyntaxError as error:
            place = f"src/{PACKAGE}/{path.relative_to(folder)}:{error.lineno}"
            raise UserError(f"{place} is not Python ({error.msg}). Mend it.") from None
    modules.pop("__main__", None)
    if ENTRY not in modules:
        raise UserError(f"{folder} holds no {ENTRY}.py: there is nothing to bundle. Run this in a whole checkout.")
    return modules


def of_package(node: ast.AST) -> bool:
    """Whether the node imports from the package."""
    if isinstance(node, ast.ImportFrom):
        return node.level > 0 or node.module.split(".")[0] == PACKAGE
    return isinstance(node, ast.Import) and any(alias.name.split(".")[0] == PACKAGE for alias in node.names)


def target_of(node: ast.ImportFrom) -> str:
    """The module, by its name in the package, that an import of the package is from."""
    return node.module.removeprefix(f"{PACKAGE}.")


def inside_imports(module: Module) -> list[ast.ImportFrom]:
    """The module's imports from the package.

    Raises:
        UserError: naming the line of one that is not `from monet.x import name` at the top.
    """
    nodes = [node for node in ast.walk(module.tree) if of_package(node)]
    for node in nodes:
        renamed = any(alias.asname or alias.name == "*" for alias in node.names)
        dotted = isinstance(node, ast.ImportFrom) and node.level == 0 and node.module.startswith(f"{PACKAGE}.")
        if renamed or not dotted or node not in module.tree.body:
            raise UserError(f"{module.place(node)}: `{ast.unparse(node)}` cannot be bundled. Imports of the package "
                            f"are `from {PACKAGE}.x import name`, at the top of a module and without `as`.")
    return nodes


def outside_imports(module: Module) -> list[tuple[ast.stmt, list[Outside]]]:
    """The module's imports from elsewhere that stand at its top: (statement, what it imports).

    Raises:
        UserError: naming the line of one that would mean something else in one file.
    """
    found = []
    for node in module.tree.body:
        if not isinstance(node, (ast.Import, ast.ImportFrom)) or of_package(node):
            continue
        source = node.module if isinstance(node, ast.ImportFrom) else ""
        if source == "__future__" or any(alias.name == "*" for alias in node.names):
            raise UserError(f"{module.place(node)}: `{ast.unparse(node)}` would hold for all modules of the bundle. "
                            "Write it without.")
        comment = re.search(r"#.*$", module.text.splitlines()[node.end_lineno - 1])
        found.append((node, [Outside(source, alias.name, alias.asname or "", comment[0] if comment else "")
                             for alias in node.names]))
    return found


def bindings(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """The names that a module defines at its top level, also in an `if`, `try` or `with`, each with its node."""
    pending = list(tree.body)
    while pending:
        node = pending.pop(0)
        if isinstance(node, SCOPES):
            yield getattr(node, "name", ""), node
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node
        elif isinstance(node, (ast.Import, ast.ImportFrom)) and node not in tree.body:
            yield from ((alias.asname or alias.name.split(".")[0], node) for alias in node.names)
        elif not isinstance(node, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
            pending.extend(ast.iter_child_nodes(node))


def check_names(modules: dict[str, Module]) -> None:
    """Raises UserError, naming the lines, if in one file a name would mean two things, or an import finds nothing."""
    owners = {name: ("Python itself", "") for name in dir(builtins)}
    own = {name: {key: node for key, node in bindings(module.tree) if key} for name, module in modules.items()}
    for name, module in modules.items():
        places = [(key, module.place(node), f"its own in {name}") for key, node in own[name].items()]
        places += [(item.bound, module.place(node), f"{item.source}.{item.name}")
                   for node, items in outside_imports(module) for item in items]
        for key, place, meaning in places:
            first, other = owners.setdefault(key, (place, meaning))
            if meaning != other:
                raise UserError(f"{key} is defined at {place} and by {first}: one file cannot hold both. Rename one.")
        for node in inside_imports(module):
            target = target_of(node)
            for alias in node.names:
                if alias.name not in own.get(target, ()):
                    raise UserError(f"{module.place(node)}: {node.module} defines no {alias.name}. Mend the import.")


def in_import_order(modules: dict[str, Module]) -> list[Module]:
    """The modules in the order in which Python would run them for `ENTRY`, then those that it does not import.

    Raises:
        UserError: naming the lines, if modules import each other in a circle.
    """
    ordered, path = {}, []

    def visit(name: str, line: str) -> None:
        if name in ordered:
            return
        if name in [step for step, _ in path]:
            circle = [where for step, where in path[1:]] + [line]
            raise UserError(f"These imports form a circle: {', '.join(circle)}. Move what they share to a module "
                            "below.")
        path.append((name, line))
        module = modules[name]
        for node in inside_imports(module):
            visit(target_of(node), module.place(node))
        path.pop()
        ordered[name] = module

    for name in ["__init__", ENTRY, *modules]:
        if name in modules:
            visit(name, "")
    return list(ordered.values())


def split_standard(ordered: list[Module]) -> tuple[list[Module], list[Module]]:
    """The modules that need the standard library only, themselves and in what they import, and the others."""
    standard = {}
    for module in ordered:
        outside = [item for _, items in outside_imports(module) for item in items]
        if all(item.is_standard for item in outside) and all(
                target_of(node) in standard for node in inside_imports(module)):
            standard[module.name] = module
    return list(standard.values()), [module for module in ordered if module.name not in standard]


def body_text(module: Module) -> str:
    """The module's text without its imports at the top level; comments and docstrings stay."""
    lines = module.text.splitlines()
    imports = [*inside_imports(module), *(node for node, _ in outside_imports(module))]
    for node in imports:
        lines[node.lineno - 1:node.end_lineno] = [None] * (node.end_lineno - node.lineno + 1)
    text = "\n".join(line for line in lines if line is not None)
    # Where a block of imports stood, its blank lines are left: two are enough between any two things.
    return re.sub(r"\n{4,}", "\n\n\n", text).strip()


def import_lines(modules: list[Module], standard: bool) -> str:
    """The imports of the standard library, or of anything else, of all `modules`, each name once."""
    items = {item for module in modules for _, found in outside_imports(module) for item in found
             if item.is_standard is standard}
    whole = sorted({(item.name, item.alias, item.comment) for item in items if not item.source})
    lines = [f"import {name}{f' as {alias}' if alias else ''}{f'  {comment}' if comment else ''}"
             for name, alias, comment in whole]
    for source in sorted({item.source for item in items if item.source}):
        names = sorted({(item.name, item.alias) for item in items if item.source == source})
        comments = sorted({item.comment for item in items if item.source == source and item.comment})
        listed = ", ".join(name + (f" as {alias}" if alias else "") for name, alias in names)
        lines.append(f"from {source} import {listed}{'  ' + ' '.join(comments) if comments else ''}")
    return "\n".join(lines)
