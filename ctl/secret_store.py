"""Passwords of a home's servers and roles, made once and kept in `keys/secrets.json` (mode 600)."""

import json
import secrets
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from ctl.embedded.server import write_private
from ctl.failures import HomeError, disk_faults_told
from ctl.home import Home, read_json


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Secrets:
    """One password for each server and each database role."""

    postgres: str
    nats: str
    valkey: str
    app_role: str
    worker_role: str


def load_or_create(home: Home) -> Secrets:
    """The home's secrets; made when the home is new.

    Raises `HomeError` when they are lost or damaged while there is data that needs them.
    """
    path = home.keys / "secrets.json"
    if not path.exists():
        if (home.path / "postgres").exists():
            raise HomeError(
                f"{path} is missing, but the data that it belongs to is there; nothing was changed.",
                hint="Restore the file from a backup, or start anew with `medforall reset`.",
            )
        with disk_faults_told(path):
            made = Secrets(**{field.name: secrets.token_urlsafe(24) for field in fields(Secrets)})
            write_private(path, json.dumps(asdict(made), indent=2) + "\n")
    return _read(path)


def _read(path: Path) -> Secrets:
    said = read_json(path)
    try:
        return Secrets(**{field.name: str(said[field.name]) for field in fields(Secrets)})
    except KeyError as error:
        raise HomeError(
            f"{path} is damaged: it lacks {error}; nothing was changed.",
            hint="Restore the file from a backup, or start anew with `medforall reset`.",
        ) from error
