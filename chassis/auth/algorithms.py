"""The signature algorithms that are accepted, and nothing beside them."""

from __future__ import annotations

from typing import Any

from joserfc.errors import UnsupportedAlgorithmError
from joserfc.jws import JWSRegistry

# Ed25519 is RFC 9864's name for what most issuers still call EdDSA.
ACCEPTED = frozenset({"EdDSA", "Ed25519", "RS256", "ES256"})
_ALIASES = {"Ed25519": "EdDSA"}


def canonical(algorithm: str) -> str:
    """The one name of an algorithm that has two."""
    return _ALIASES.get(algorithm, algorithm)


class PinnedRegistry(JWSRegistry):
    """Knows one algorithm.

    The library warns on every use of the name EdDSA; which algorithms are fit is decided here, so it need
    not.
    """

    def __init__(self, algorithm: str) -> None:
        super().__init__(algorithms=[algorithm])
        self._algorithm = algorithm

    def get_alg(self, name: str) -> Any:
        """The algorithm, if it is the one. Raises UnsupportedAlgorithmError."""
        if name != self._algorithm or name not in ACCEPTED:
            raise UnsupportedAlgorithmError(f"Algorithm of '{name}' is not allowed")
        return self.algorithms[name]


REGISTRIES = {name: PinnedRegistry(name) for name in sorted(ACCEPTED)}
