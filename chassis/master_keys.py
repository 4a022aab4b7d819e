"""Master keys from a file or the environment.

Both hold lines (or comma-separated entries) `key id:base64 of 32 bytes`, newest first: add a line on top to
rotate, re-wrap the data keys, then remove the old one.
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
import stat
from collections.abc import Sequence
from pathlib import Path

from chassis.config import ConfigError
from chassis.encryption import KEY_BYTES, MasterKey
from chassis.settings import EncryptionSettings

_OTHERS_MAY_READ = stat.S_IRWXG | stat.S_IRWXO
_FILE_BYTES_MAX = 65_536


class MasterKeys:
    """A fixed list of master keys, newest first."""

    def __init__(self, keys: Sequence[MasterKey]) -> None:
        if not keys:
            raise ValueError("at least one master key is needed")
        self._newest = keys[0]
        self._by_id = {key.key_id: key for key in keys}
        if len(self._by_id) != len(keys):
            raise ValueError("two master keys have the same id")

    def newest(self) -> MasterKey:
        """The key that wraps from now on."""
        return self._newest

    def find(self, key_id: str) -> MasterKey | None:
        """The key of an id, older ones included."""
        return self._by_id.get(key_id)


def load_master_keys(settings: EncryptionSettings) -> MasterKeys:
    """The master keys of a process. Raises ConfigError, which never shows a key."""
    if settings.master_key_file is not None:
        return _parse("MEDFORALL_MASTER_KEY_FILE", _read_private(settings.master_key_file))
    if settings.master_key:
        return _parse("MEDFORALL_MASTER_KEY", settings.master_key)
    raise ConfigError(
        "Neither MEDFORALL_MASTER_KEY_FILE nor MEDFORALL_MASTER_KEY is set: patient data needs a key."
    )


def create_master_key_file(path: Path) -> bool:
    """Write a new master key to `path` (mode 600) unless the file exists; say whether it was made."""
    entry = f"mk-{secrets.token_hex(4)}:{base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()}\n"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w") as file:
        file.write(entry)
        file.flush()
        os.fsync(file.fileno())
    return True


def _read_private(path: Path) -> str:
    try:
        with path.open() as file:
            if os.fstat(file.fileno()).st_mode & _OTHERS_MAY_READ:
                raise ConfigError(
                    f"MEDFORALL_MASTER_KEY_FILE names {path}, which others may read: set its mode to 600."
                )
            return file.read(_FILE_BYTES_MAX)
    except (OSError, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigError(f"MEDFORALL_MASTER_KEY_FILE names {path}, which cannot be read: {what}.") from None


def _parse(variable: str, text: str) -> MasterKeys:
    entries = [entry.strip() for entry in text.replace(",", "\n").splitlines()]
    try:
        return MasterKeys([_parse_entry(entry) for entry in entries if entry and not entry.startswith("#")])
    except ValueError as error:
        raise ConfigError(f"{variable} is malformed: {error}.") from None


def _parse_entry(entry: str) -> MasterKey:
    key_id, colon, encoded = entry.partition(":")
    if not colon:
        raise ValueError("an entry is `key id:base64 of 32 bytes`")
    try:
        return MasterKey(key_id, base64.b64decode(encoded, validate=True))
    except binascii.Error:
        raise ValueError(f"the key {key_id[:16]!r} is not base64") from None
