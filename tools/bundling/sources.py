"""Reads the modules of `src/monet/` and checks that they can share one file: used by `bundle.py`."""

import ast
import builtins
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from monet.core.errors import UserError

PACKAGE = "monet"
ENTRY = "kaggle_run"  # the module that a bundle runs
WIDTH = 120  # characters in a line
SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


@dataclass(frozen=True)
class Module:
    """One module of the package."""

    name: str  # without the package: core.config
    text: str
    tree: ast.Module

    @property
    def path(self) -> str:
        """Its file, relative to the folder that contains the package: monet/core/config.py."""
        return f"{PACKAGE}/{self.name.replace('.', '/')}.py"

    def line_of(self, node: ast.AST) -> str:
        """Returns the node's file and line for messages: src/monet/config.py:12."""
        return f"src/{self.path}:{node.lineno}"


@dataclass(frozen=True)
class Import:
    """One name that a module imports from outside the package."""

    source: str  # the module it comes from; "" for `import x`
    name: str
    alias: str  # "" without `as`
    comment: str  # the comment behind the import, "" or "# …"

    @property
    def bound(self) -> str:
        """The name in the importing file."""
        return self.alias or (self.name if self.source else self.name.split(".")[0])

    @property
    def is_standard(self) -> bool:
        """Whether it comes from the standard library."""
        return (self.source or self.name).split(".")[0] in sys.stdlib_module_names


def parsed(name: str, text: str) -> Module:
    """Returns the module `name` with this text."""
    return Module(name, text, ast.parse(text))


def read_modules(folder: Path) -> dict[str, Module]:
    """Returns the modules of the package in `folder` by name, without `__main__`.

    Raises:
        UserError: if `ENTRY` is missing or a file is not Python.
    """
    modules = {}
    for path in sorted(folder.rglob("*.py")):
        name = ".".join(path.relative_to(folder).with_suffix("").parts)
        text = path.read_text(encoding="utf-8")
        try:
            modules[name] = parsed(name, text)
        except SyntaxError as error:
            line = f"src/{PACKAGE}/{path.relative_to(folder)}:{error.lineno}"
            raise UserError(f"{line} is not Python ({error.msg}). Fix it.") from None
    modules.pop("__main__", None)
    if ENTRY not in modules:
        raise UserError(f"{folder} has no {ENTRY}.py, so there is nothing to bundle. Run this in a complete checkout.")
    return modules


def is_import(node: ast.AST) -> bool:
    """Returns whether the node is an import statement."""
    return isinstance(node, (ast.Import, ast.ImportFrom))


def is_inner(node: ast.AST) -> bool:
    """Returns whether the node imports from the package."""
    if isinstance(node, ast.ImportFrom):
        return node.level > 0 or node.module.split(".")[0] == PACKAGE
    return isinstance(node, ast.Import) and any(alias.name.split(".")[0] == PACKAGE for alias in node.names)


def target_of(node: ast.ImportFrom) -> str:
    """Returns the name of the package's module that the node imports from."""
    return node.module.removeprefix(f"{PACKAGE}.")


def inner_imports(module: Module) -> list[ast.ImportFrom]:
    """Returns the module's imports from the package.

    Raises:
        UserError: if one is not `from monet.x import name` at the top level.
    """
    nodes = [node for node in ast.walk(module.tree) if is_inner(node)]
    for node in nodes:
        renamed = any(alias.asname or alias.name == "*" for alias in node.names)
        dotted = isinstance(node, ast.ImportFrom) and node.level == 0 and node.module.startswith(f"{PACKAGE}.")
        if renamed or not dotted or node not in module.tree.body:
            raise UserError(f"{module.line_of(node)}: `{ast.unparse(node)}` cannot be bundled. Import from the package "
                            f"with `from {PACKAGE}.x import name`, at the top of the module and without `as`.")
    return nodes


def used_names(node: ast.AST) -> set[str]:
    """Returns the names that the code uses."""
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def outer_imports(module: Module) -> list[tuple[ast.stmt, list[Import]]]:
    """Returns the module's top-level imports from outside the package: (statement, imported names).

    Raises:
        UserError: if one would affect other modules in the same file.
    """
    imports = []
    for node in module.tree.body:
        if not is_import(node) or is_inner(node):
            continue
        source = node.module if isinstance(node, ast.ImportFrom) else ""
        if source == "__future__" or any(alias.name == "*" for alias in node.names):
            raise UserError(f"{module.line_of(node)}: `{ast.unparse(node)}` would apply to all modules of the bundle. "
                            "Do without it.")
        comment = re.search(r"#.*$", module.text.splitlines()[node.end_lineno - 1])
        imports.append((node, [Import(source, alias.name, alias.asname or "", comment[0] if comment else "")
                               for alias in node.names]))
    return imports


def bindings(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Yields the names that a module defines at its top level, also inside `if`, `try` or `with`, with their nodes."""
    pending = list(tree.body)
    while pending:
        node = pending.pop(0)
        if isinstance(node, SCOPES):
            yield getattr(node, "name", ""), node
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node
        elif is_import(node) and node not in tree.body:
            yield from ((alias.asname or alias.name.split(".")[0], node) for alias in node.names)
        elif not isinstance(node, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
            pending.extend(ast.iter_child_nodes(node))


def check_names(modules: dict[str, Module]) -> None:
    """Raises UserError if a name would have two meanings in one file, or an import from the package finds nothing."""
    owners = {name: ("Python itself", "") for name in dir(builtins)}
    own = {name: {key: node for key, node in bindings(module.tree) if key} for name, module in modules.items()}
    for name, module in modules.items():
        definitions = [(key, module.line_of(node), f"its own in {name}") for key, node in own[name].items()]
        definitions += [(item.bound, module.line_of(node), f"{item.source}.{item.name}")
                        for node, items in outer_imports(module) for item in items]
        for key, line, meaning in definitions:
            other_line, other_meaning = owners.setdefault(key, (line, meaning))
            if meaning != other_meaning:
                raise UserError(f"{key} is defined at {line} and by {other_line}, but must be unique. Rename one.")
        for node in inner_imports(module):
            for alias in node.names:
                if alias.name not in own.get(target_of(node), ()):
                    raise UserError(f"{module.line_of(node)}: {node.module} defines no {alias.name}. Fix the import.")


def body_text(module: Module) -> str:
    """Returns the module's text without its top-level imports; comments and docstrings stay."""
    lines = module.text.splitlines()
    for node in [*inner_imports(module), *(node for node, _ in outer_imports(module))]:
        lines[node.lineno - 1:node.end_lineno] = [None] * (node.end_lineno - node.lineno + 1)
    text = "\n".join(line for line in lines if line is not None)
    text = re.sub(r"\n{4,}", "\n\n\n", text).strip()  # removed imports leave extra blank lines
    return re.sub(r'\A("""(?:(?!""").)*""")\n{3}(?!def |class |@|#)', r"\1\n\n", text, flags=re.DOTALL)


def import_lines(modules: list[Module], standard: bool) -> str:
    """Returns the imports that the `modules` use from the standard library, or from other packages, each name once."""
    items = {item for module in modules for _, imports in outer_imports(module) for item in imports
             if item.is_standard is standard and item.bound in used_names(module.tree)}
    whole = sorted({(item.name, item.alias, item.comment) for item in items if not item.source})
    lines = [f"import {name}{f' as {alias}' if alias else ''}{f'  {comment}' if comment else ''}"
             for name, alias, comment in whole]
    for source in sorted({item.source for item in items if item.source}):
        names = sorted({(item.name, item.alias) for item in items if item.source == source})
        comments = sorted({item.comment for item in items if item.source == source and item.comment})
        listed = ", ".join(name + (f" as {alias}" if alias else "") for name, alias in names)
        lines.append(f"from {source} import {listed}{'  ' + ' '.join(comments) if comments else ''}")
    return "\n".join(lines)
