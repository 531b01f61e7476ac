"""What a bundle puts in the place of each registry entry that its settings do not choose. Standard library only."""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from monet.core.errors import UserError


@dataclass(frozen=True)
class LeftOut:
    """Replaces the registry entries that are not in the bundle.

    Attributes:
        made_with: the options of tools/bundle.py that made the bundle.
        settings: returns the bundle's settings by name, as they are now.
        made_for: the settings that it was made for.
    """

    made_with: str
    settings: Callable[[], Mapping]
    made_for: Mapping

    def error(self, setting: str) -> UserError:
        """Returns the error for a value of `setting` that needs an entry."""
        # The accelerator is the machine's, which MADE_WITH gives.
        changed = [f"--{name.replace('_', '-')} {shlex.quote(str(value))}" for name, value in self.settings().items()
                   if value != self.made_for[name] and name != "accelerator"]
        if not changed:
            return UserError(f"This file was made without what the setting {setting} needs here, although no setting "
                             "has changed. Check what is attached to the kernel.")
        options = " ".join([self.made_with, *changed]).strip()
        return UserError(f"This file was made without what the setting {setting} now needs. Make one that has it: "
                         f"make kernel ARGS=\"{options}\"")
