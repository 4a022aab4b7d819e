"""The master keys that a command works with: those of the environment, else the home's."""

from collections.abc import Mapping
from pathlib import Path

from chassis.config import ConfigError
from chassis.master_keys import MasterKeys, load_master_keys
from chassis.settings import EncryptionSettings
from ctl.failures import CtlError
from ctl.home import Home
from ctl.key_store import KeyStore


def master_keys_of(home: Home, environment: Mapping[str, str]) -> MasterKeys:
    """The keys, newest first. Raises `CtlError` for keys that cannot be read."""
    given = environment.get("MEDFORALL_MASTER_KEY", "")
    file = environment.get("MEDFORALL_MASTER_KEY_FILE", "")
    try:
        if given and not file:
            return load_master_keys(EncryptionSettings(master_key_file=None, master_key=given))
        path = Path(file) if file else KeyStore(home).master_key_file
        return load_master_keys(EncryptionSettings(master_key_file=path, master_key=""))
    except ConfigError as error:
        raise CtlError(str(error)) from error
