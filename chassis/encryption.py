"""Envelope encryption of personal data, and keyed hashes to search it by.

Each clinic has a data key: one secret that encrypts and one that hashes. The data key is stored wrapped by a
master key; without that row everything of the clinic is unreadable for good. A sealed value is

    version (1) | length of key id (1) | key id | nonce (12) | AES-256-GCM ciphertext and tag

and is bound to its place: the associated data are table, column, row id and clinic, so that a value that is
copied to another row or clinic does not open. Everything here is pure; keys come from `chassis.master_keys`.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32

_VERSION = 1
_NONCE_BYTES = 12
_TAG_BYTES = 16
_KEY_ID_BYTES_MAX = 64

RandomBytes = Callable[[int], bytes]


class DecryptionError(Exception):
    """A sealed value does not open: wrong key, wrong place or damaged. Says nothing of its content."""


@dataclass(frozen=True, slots=True)
class MasterKey:
    """A key that wraps data keys; it never leaves the process and never touches data itself."""

    key_id: str
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        _check_key_id(self.key_id)
        if len(self.secret) != KEY_BYTES:
            raise ValueError(f"master key {self.key_id} has {len(self.secret)} bytes instead of {KEY_BYTES}")


class KeyProvider(Protocol):
    """Where master keys come from: a file, the environment, a key management service."""

    def newest(self) -> MasterKey:
        """The key that wraps from now on."""
        ...

    def find(self, key_id: str) -> MasterKey | None:
        """The key of an id, older ones included."""
        ...


@dataclass(frozen=True, slots=True)
class DataKey:
    """One clinic's key. A later key of the clinic has another `key_id` and the same `search_secret`."""

    clinic_id: str
    key_id: str
    secret: bytes = field(repr=False)
    search_secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        _check_key_id(self.key_id)


def new_data_key(clinic_id: str, key_id: str, *, random_bytes: RandomBytes = os.urandom) -> DataKey:
    """A clinic's first data key."""
    return DataKey(clinic_id, key_id, random_bytes(KEY_BYTES), random_bytes(KEY_BYTES))


def wrap(data_key: DataKey, keys: KeyProvider, *, random_bytes: RandomBytes = os.urandom) -> bytes:
    """The data key as it is stored: sealed by the newest master key, bound to its clinic and id."""
    master = keys.newest()
    content = data_key.secret + data_key.search_secret
    associated = _associated("data_key", data_key.clinic_id, data_key.key_id)
    return _seal(AESGCM(master.secret), master.key_id, content, associated, random_bytes(_NONCE_BYTES))


def unwrap(wrapped: bytes, clinic_id: str, key_id: str, keys: KeyProvider) -> DataKey:
    """The data key that `wrap` stored. Raises DecryptionError."""
    master_id = key_id_of(wrapped)
    master = keys.find(master_id)
    if master is None:
        raise DecryptionError(f"master key {master_id} is not available")
    content = _open(AESGCM(master.secret), wrapped, _associated("data_key", clinic_id, key_id))
    if len(content) != 2 * KEY_BYTES:
        raise DecryptionError("a wrapped data key has the wrong length")
    return DataKey(clinic_id, key_id, content[:KEY_BYTES], content[KEY_BYTES:])


def is_wrapped_by_newest(wrapped: bytes, keys: KeyProvider) -> bool:
    """Whether a stored data key needs no re-wrapping."""
    return key_id_of(wrapped) == keys.newest().key_id


class ClinicCipher:
    """Seals and opens one clinic's values, and hashes what they are searched by.

    `keys` are the clinic's data keys, newest first: the first seals, all open.
    """

    def __init__(self, keys: Sequence[DataKey], *, random_bytes: RandomBytes = os.urandom) -> None:
        if not keys:
            raise ValueError("a clinic's cipher needs a data key")
        self.clinic_id = keys[0].clinic_id
        if any(key.clinic_id != self.clinic_id for key in keys):
            raise ValueError("a cipher's data keys belong to one clinic")
        self._sealing_id = keys[0].key_id
        self._ciphers = {key.key_id: AESGCM(key.secret) for key in keys}
        self._search_secret = keys[0].search_secret
        self._random_bytes = random_bytes

    def __repr__(self) -> str:
        return f"ClinicCipher({self.clinic_id}, keys={sorted(self._ciphers)})"

    def seal(self, content: bytes, *, table: str, column: str, row_id: str) -> bytes:
        """`content`, encrypted for exactly this place."""
        associated = _associated(table, column, row_id, self.clinic_id)
        nonce = self._random_bytes(_NONCE_BYTES)
        return _seal(self._ciphers[self._sealing_id], self._sealing_id, content, associated, nonce)

    def open(self, sealed: bytes, *, table: str, column: str, row_id: str) -> bytes:
        """What `seal` was given for this place. Raises DecryptionError."""
        key_id = key_id_of(sealed)
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise DecryptionError(f"data key {key_id} is not available")
        return _open(cipher, bytes(sealed), _associated(table, column, row_id, self.clinic_id))

    def seal_text(self, text: str, *, table: str, column: str, row_id: str) -> bytes:
        """`text` in UTF-8, encrypted for exactly this place."""
        return self.seal(text.encode(), table=table, column=column, row_id=row_id)

    def open_text(self, sealed: bytes, *, table: str, column: str, row_id: str) -> str:
        """What `seal_text` was given for this place. Raises DecryptionError."""
        return self.open(sealed, table=table, column=column, row_id=row_id).decode()

    def search_hash(self, kind: str, value: str) -> bytes:
        """32 bytes, equal for equal `value` of one `kind` in this clinic only; normalise the value first."""
        return hmac.digest(self._search_secret, _associated(kind, value), hashlib.sha256)


def key_id_of(sealed: bytes) -> str:
    """The id of the key that sealed a value. Raises DecryptionError for what is no sealed value."""
    view = bytes(sealed[: 2 + _KEY_ID_BYTES_MAX])
    if (
        len(view) < 2
        or view[0] != _VERSION
        or not 0 < view[1] <= _KEY_ID_BYTES_MAX
        or len(view) < 2 + view[1]
    ):
        raise DecryptionError("a value is not sealed, or by a later version")
    try:
        return view[2 : 2 + view[1]].decode("ascii")
    except UnicodeDecodeError:
        raise DecryptionError("a sealed value is damaged") from None


def _seal(cipher: AESGCM, key_id: str, content: bytes, associated: bytes, nonce: bytes) -> bytes:
    head = _head(key_id)
    return head + nonce + cipher.encrypt(nonce, content, head + associated)


def _open(cipher: AESGCM, sealed: bytes, associated: bytes) -> bytes:
    head = _head(key_id_of(sealed))
    nonce, encrypted = sealed[len(head) : len(head) + _NONCE_BYTES], sealed[len(head) + _NONCE_BYTES :]
    if len(encrypted) < _TAG_BYTES:
        raise DecryptionError("a sealed value is cut short")
    try:
        return cipher.decrypt(nonce, encrypted, head + associated)
    except InvalidTag:
        raise DecryptionError(
            "a sealed value does not open here: wrong key, wrong place or damaged"
        ) from None


def _head(key_id: str) -> bytes:
    encoded = key_id.encode("ascii")
    return bytes((_VERSION, len(encoded))) + encoded


def _associated(*parts: str) -> bytes:
    """The parts with their lengths, so that no two different lists are the same bytes."""
    encoded = [part.encode() for part in parts]
    return b"".join(len(part).to_bytes(4, "big") + part for part in encoded)


def _check_key_id(key_id: str) -> None:
    if not key_id.isascii() or not key_id.isprintable() or not 0 < len(key_id) <= _KEY_ID_BYTES_MAX:
        raise ValueError("a key id is 1 to 64 printable ASCII characters")
