"""Feature flags: switches that an operator may turn without a new build."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from chassis.config import ConfigError


class Flags:
    """The flags of a process: what its code declares, with the settings' changes."""

    def __init__(self, defaults: Mapping[str, bool], changes: Iterable[str] = ()) -> None:
        """Raise ConfigError for a change that names no declared flag; `-name` turns a flag off."""
        self._values = dict(defaults)
        for change in changes:
            name = change.removeprefix("-")
            if name not in self._values:
                known = ", ".join(sorted(self._values)) or "none"
                raise ConfigError(
                    f"MEDFORALL_FLAGS names {name!r}, which is not a flag of this process (known: {known})."
                )
            self._values[name] = not change.startswith("-")

    def is_on(self, name: str) -> bool:
        """Whether a declared flag is on. Raises KeyError for an undeclared one."""
        return self._values[name]
