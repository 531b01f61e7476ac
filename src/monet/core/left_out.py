"""What a bundle puts in the place of a registry entry that its settings do not use. Standard library only."""

from dataclasses import dataclass

from monet.core.errors import UserError


@dataclass(frozen=True)
class LeftOut:
    """Replaces a registry entry whose module is not in the bundle.

    Attributes:
        options: options of tools/bundle.py that make the same bundle with the entry.
    """

    options: str

    def error(self, what: str) -> UserError:
        """Returns the error for a setting that needs the entry; `what` names the entry."""
        return UserError(f"This file was made without {what}, which the settings now need. Make one that has it: "
                         f"make kernel ARGS=\"{self.options.strip()}\"")
