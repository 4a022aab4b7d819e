"""Sealed values open in their place only; keys rotate; hashes stay in their clinic."""

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.config import ConfigError
from chassis.encryption import (
    ClinicCipher,
    DataKey,
    DecryptionError,
    MasterKey,
    is_wrapped_by_newest,
    key_id_of,
    new_data_key,
    unwrap,
    wrap,
)
from chassis.master_keys import MasterKeys, create_master_key_file, load_master_keys
from chassis.search_terms import normal_email, normal_phone, normal_text, prefixes_of, searched_prefixes
from chassis.settings import EncryptionSettings

PLACE = {"table": "patient", "column": "full_name", "row_id": "p1"}
OLD = MasterKey("mk-1", b"1" * 32)
NEW = MasterKey("mk-2", b"2" * 32)


def cipher(clinic: str = "clinic-a") -> ClinicCipher:
    return ClinicCipher([new_data_key(clinic, "dk-1")])


@given(st.binary(max_size=200))
def test_what_is_sealed_opens(content: bytes) -> None:
    """Any bytes survive the round trip, and are not visible in between."""
    sealing = cipher()
    sealed = sealing.seal(content, **PLACE)
    assert sealing.open(sealed, **PLACE) == content
    assert len(content) < 4 or content not in sealed


@pytest.mark.parametrize("change", [{"table": "x"}, {"column": "dob"}, {"row_id": "p2"}])
def test_a_value_does_not_open_elsewhere(change: dict[str, str]) -> None:
    """A value that was copied to another table, column or row stays shut."""
    sealing = cipher()
    sealed = sealing.seal_text("Jane", **PLACE)
    with pytest.raises(DecryptionError):
        sealing.open(sealed, **{**PLACE, **change})


def test_a_value_does_not_open_for_another_clinic() -> None:
    """Even with the same secrets, another clinic's cipher does not open it."""
    key = new_data_key("clinic-a", "dk-1")
    stolen = DataKey("clinic-b", "dk-1", key.secret, key.search_secret)
    sealed = ClinicCipher([key]).seal_text("Jane", **PLACE)
    with pytest.raises(DecryptionError):
        ClinicCipher([stolen]).open(sealed, **PLACE)


@given(position=st.integers(min_value=0), bit=st.integers(0, 7), cut=st.booleans())
def test_a_damaged_value_is_refused(position: int, bit: int, cut: bool) -> None:
    """One changed bit anywhere, or a cut, is noticed; nothing else than DecryptionError is raised."""
    sealing = cipher()
    sealed = bytearray(sealing.seal_text("Jane", **PLACE))
    index = position % len(sealed)
    damaged = (
        bytes(sealed[:index])
        if cut
        else bytes([*sealed[:index], sealed[index] ^ 1 << bit, *sealed[index + 1 :]])
    )
    with pytest.raises(DecryptionError) as caught:
        sealing.open(damaged, **PLACE)
    assert "Jane" not in str(caught.value)


def test_equal_values_are_sealed_differently() -> None:
    """Nobody sees from the stored bytes that two patients have the same name."""
    sealing = cipher()
    assert sealing.seal_text("Jane", **PLACE) != sealing.seal_text("Jane", **PLACE)


def test_data_keys_rotate() -> None:
    """The newest key seals, older ones still open, and search hashes stay what they were."""
    first = new_data_key("clinic-a", "dk-1")
    second = replace(new_data_key("clinic-a", "dk-2"), search_secret=first.search_secret)
    before, after = ClinicCipher([first]), ClinicCipher([second, first])
    old = before.seal_text("Jane", **PLACE)
    assert after.open_text(old, **PLACE) == "Jane"
    assert key_id_of(old) == "dk-1"
    assert key_id_of(after.seal_text("Jane", **PLACE)) == "dk-2"
    assert before.search_hash("phone", "1") == after.search_hash("phone", "1")
    with pytest.raises(DecryptionError, match="dk-2"):
        before.open(after.seal_text("Jane", **PLACE), **PLACE)


def test_data_keys_are_wrapped_by_the_newest_master_key() -> None:
    """Wrapped keys open with the master key they name, are bound to clinic and id, and can be wrapped again."""
    key = new_data_key("clinic-a", "dk-1")
    wrapped = wrap(key, MasterKeys([OLD]))
    rotated = MasterKeys([NEW, OLD])
    assert unwrap(wrapped, "clinic-a", "dk-1", rotated) == key
    assert not is_wrapped_by_newest(wrapped, rotated)
    again = wrap(key, rotated)
    assert is_wrapped_by_newest(again, rotated)
    assert unwrap(again, "clinic-a", "dk-1", MasterKeys([NEW])) == key
    for clinic, key_id, keys in (("clinic-b", "dk-1", rotated), ("clinic-a", "dk-9", rotated)):
        with pytest.raises(DecryptionError):
            unwrap(wrapped, clinic, key_id, keys)
    with pytest.raises(DecryptionError, match="mk-1"):
        unwrap(wrapped, "clinic-a", "dk-1", MasterKeys([NEW]))


def test_secrets_do_not_show() -> None:
    """Neither keys nor ciphers show their secrets."""
    key = new_data_key("clinic-a", "dk-1", random_bytes=lambda size: b"S" * size)
    assert "SSSS" not in repr(key) + repr(ClinicCipher([key])) + repr(MasterKey("m", b"S" * 32))


def test_search_hashes_belong_to_clinic_and_kind() -> None:
    """The same value hashes differently for another kind or clinic, and equally otherwise."""
    one, other = cipher("clinic-a"), cipher("clinic-b")
    assert one.search_hash("phone", "1") == one.search_hash("phone", "1")
    hashes = {one.search_hash("phone", "1"), one.search_hash("email", "1"), other.search_hash("phone", "1")}
    hashes |= {one.search_hash("pho", "ne1"), one.search_hash("phone", "2")}
    assert len(hashes) == 5


def test_names_are_found_however_they_are_typed() -> None:
    """Case, accents, forms and punctuation do not matter; every prefix of two letters and more finds the name."""
    assert normal_text("  ÅSA   Müller ") == "asa muller"
    prefixes = prefixes_of("Åsa O'Müller-Lüdenscheidterin")
    for typed in ("as", "ÅSA", "mul", "Müller", "luedens"[:2], "Lüdenscheidterin"):
        assert set(searched_prefixes(typed)) <= set(prefixes)
    assert set(searched_prefixes("Muller asa")) <= set(prefixes)
    assert not set(searched_prefixes("sa")) <= set(prefixes)
    assert len(prefixes_of("word " * 100)) < 60


def test_contacts_have_one_form() -> None:
    """Phone numbers and mail addresses are equal when they mean the same."""
    assert normal_phone(" +1 (415) 555-2671") == normal_phone("001 415 555 2671") == "+14155552671"
    assert normal_phone("(415) 555-2671") == "4155552671"
    assert normal_email(" Jane.Doe@Example.COM ") == "jane.doe@example.com"


def test_the_master_key_file_is_made_once_and_private(tmp_path: Path) -> None:
    """The file is made with mode 600, is not overwritten, and serves."""
    path = tmp_path / "master.key"
    assert create_master_key_file(path)
    content = path.read_text()
    assert not create_master_key_file(path)
    assert path.read_text() == content
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    keys = load_master_keys(EncryptionSettings(master_key_file=path))
    assert keys.newest().key_id.startswith("mk-")


def test_master_keys_come_from_the_environment_too() -> None:
    """The environment may hold several, newest first."""
    from base64 import b64encode  # noqa: PLC0415 - only here

    entries = ",".join(f"{key.key_id}:{b64encode(key.secret).decode()}" for key in (NEW, OLD))
    keys = load_master_keys(EncryptionSettings(master_key=entries))
    assert keys.newest() == NEW
    assert keys.find("mk-1") == OLD
    assert keys.find("mk-3") is None


def test_what_is_wrong_with_master_keys_is_one_sentence(tmp_path: Path) -> None:
    """Missing, unreadable, public and malformed keys are refused, without showing them."""
    public = tmp_path / "public.key"
    public.write_text("mk:AAAA")
    os.chmod(public, 0o644)  # noqa: PTH101 - plain
    bad = (
        EncryptionSettings(),
        EncryptionSettings(master_key_file=tmp_path / "absent"),
        EncryptionSettings(master_key_file=public),
        EncryptionSettings(master_key="s3cr3t"),
        EncryptionSettings(master_key="mk:s3cr3t!"),
        EncryptionSettings(master_key="mk:AAAA"),
    )
    for settings in bad:
        with pytest.raises(ConfigError) as caught:
            load_master_keys(settings)
        assert str(caught.value).startswith(("MEDFORALL_MASTER_KEY", "Neither"))
        assert "s3cr3t" not in str(caught.value)
