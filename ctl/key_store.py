"""The keys of a home: one signs tokens (with its JWKS), the master key wraps the clinics' data keys."""

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from chassis.auth.principal import Role
from chassis.auth.signing import (
    SigningKey,
    generate_signing_key,
    load_signing_key,
    save_signing_key,
    sign_token,
)
from chassis.config import ConfigError
from chassis.master_keys import create_master_key_file, load_master_keys
from chassis.settings import EncryptionSettings
from ctl.embedded.server import write_private
from ctl.failures import CtlError, HomeError, disk_faults_told
from ctl.home import Home

_APPOINTMENTS = ("read:appointments", "write:appointments")
_PATIENT_DATA = ("read:phi", "write:phi")
_ALL_OF_A_CLINIC = (
    *_APPOINTMENTS,
    *_PATIENT_DATA,
    "read:availability",
    "read:directory",
    "write:directory",
    "read:audit",
    "override:booking",
    "break:glass",
)
# What a token may do when no --scope is given. An integration names its scopes itself.
DEFAULT_SCOPES: dict[Role, tuple[str, ...]] = {
    Role.ADMIN: _ALL_OF_A_CLINIC,
    Role.FRONT_DESK: ("read:availability", "read:directory", *_APPOINTMENTS, *_PATIENT_DATA),
    Role.PROVIDER: ("read:availability", "read:directory", "write:directory", *_APPOINTMENTS, "read:phi"),
    Role.PATIENT: ("read:availability", "read:directory", *_APPOINTMENTS),
    Role.SERVICE: (),
    Role.PLATFORM: ("platform",),
}


def check_claims(
    role: Role,
    *,
    clinic_id: str,
    scopes: Collection[str] | None,
    provider_id: str | None,
    patient_id: str | None,
) -> None:
    """Raise `CtlError` for a token that no service would take."""
    for name, value in (("--clinic", clinic_id), ("--provider", provider_id), ("--patient", patient_id)):
        if value and not _is_uuid(value):
            raise CtlError(f"{name} {value!r} is not a UUID.")
    if (role is Role.PLATFORM) == bool(clinic_id):
        raise CtlError("A token is for one clinic: give --clinic ID, with every role but platform.")
    if role is Role.PATIENT and not patient_id:
        raise CtlError("A patient's token names the patient: give --patient ID.")
    if role is Role.SERVICE and not scopes:
        raise CtlError("An integration's token names what it may do: give --scope, once or more.")


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class KeyStore:
    """The `keys/` directory of a home."""

    home: Home

    @property
    def jwks(self) -> Path:
        """The key set that services verify tokens with."""
        return self.home.keys / "jwks.json"

    @property
    def master_key_file(self) -> Path:
        return self.home.keys / "master.key"

    @property
    def _private(self) -> Path:
        return self.home.keys / "signing.json"

    def ensure(self) -> None:
        """Make the keys that are missing; `HomeError` when one is damaged, or lost while data needs it."""
        with disk_faults_told(self.home.keys):
            if not self._private.exists():
                self.jwks.unlink(missing_ok=True)
                save_signing_key(generate_signing_key(), self._private, self.jwks)
            self._ensure_master_key()
        self._signing_key()
        if not self.jwks.exists():
            raise HomeError(
                f"{self.jwks} is missing; nothing was changed.",
                hint=f"Restore it, or remove {self._private.name} beside it: both are then made anew.",
            )

    def token(
        self,
        *,
        role: Role,
        clinic_id: str,
        scopes: Collection[str] | None,
        ttl_s: int,
        now_s: int,
        provider_id: str | None = None,
        patient_id: str | None = None,
        subject: str | None = None,
    ) -> str:
        """A token signed with the home's key; scopes None means the role's usual ones."""
        return sign_token(
            self._signing_key(),
            subject=subject
            or f"{role}:{provider_id or patient_id or uuid.uuid5(_SUBJECTS, clinic_id + role)}",
            role=role,
            clinic_id=clinic_id,
            scopes=DEFAULT_SCOPES[role] if scopes is None else scopes,
            now_s=now_s,
            ttl_s=ttl_s,
            provider_id=provider_id,
            patient_id=patient_id,
        )

    @property
    def gateway_token_file(self) -> Path:
        """The gateway's own token, with which it reads the realtime service."""
        return self.home.keys / "gateway.token"

    def write_gateway_token(self, *, now_s: int) -> None:
        """Write the gateway's token anew; it lasts a year, and each start makes another."""
        token = self.token(
            role=Role.PLATFORM,
            clinic_id="",
            scopes=("connect:realtime",),
            ttl_s=_GATEWAY_TOKEN_TTL_S,
            now_s=now_s,
            subject="gateway",
        )
        with disk_faults_told(self.home.keys):
            write_private(self.gateway_token_file, f"{token}\n")

    def _signing_key(self) -> SigningKey:
        try:
            return load_signing_key(self._private)
        except FileNotFoundError:
            raise CtlError(
                f"There is no signing key in {self.home.keys}.", hint="Make the home first: medforall up"
            ) from None
        except ValueError as error:
            raise HomeError(
                f"The signing key {self._private} is damaged; nothing was changed.",
                hint="Restore it, or remove it: a new one is made, and tokens signed with the old one end.",
            ) from error

    def _check_master_key(self) -> None:
        try:
            load_master_keys(EncryptionSettings(master_key_file=self.master_key_file, master_key=""))
        except ConfigError as error:
            raise HomeError(
                f"{error} Nothing was changed.", hint=f"Restore {self.master_key_file} from a backup."
            ) from error

    def _ensure_master_key(self) -> None:
        if self.master_key_file.exists():
            self._check_master_key()
            return
        if (self.home.path / "postgres").exists():
            raise HomeError(
                f"{self.master_key_file} is missing, and the patients' data cannot be read without it; "
                "nothing was changed.",
                hint="Restore the file from a backup, or start anew with `medforall reset`.",
            )
        create_master_key_file(self.master_key_file)


_GATEWAY_TOKEN_TTL_S = 365 * 86_400
# Tokens of one clinic and role have the same subject each time: idempotency keys are scoped to it.
_SUBJECTS = uuid.UUID("8d7b0b1e-52a4-4e0e-9d5c-0a7f3f0f6a11")
