"""The command line itself."""

import pytest
from typer.testing import CliRunner

from chassis.auth.principal import Role
from ctl.durations import parse_duration_s
from ctl.failures import CtlError
from ctl.key_store import check_claims
from ctl.main import app

COMMANDS = sorted(
    str(command.name or command.callback.__name__) for command in app.registered_commands if command.callback
)
CLINIC = "0198a0b0-0000-7000-8000-000000000001"


def test_the_commands_are_those_that_the_documentation_names() -> None:
    """Nothing promised is missing."""
    promised = {"up", "down", "status", "logs", "reset", "migrate", "seed", "token", "env", "doctor"}
    assert promised <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    """`--help` says what the command does, what each option means, and shows how it is typed."""
    said = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"})
    assert said.exit_code == 0
    assert f"medforall {command}" in said.output.split("Example", 1)[1]


@pytest.mark.parametrize(
    ("text", "seconds"), [("900s", 900), ("15m", 900), ("8h", 28_800), ("30d", 2_592_000)]
)
def test_durations_are_read(text: str, seconds: int) -> None:
    """A number and a unit."""
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "8", "h", "0s", "-1h", "8 h", "1.5h", "9999999d", "٣h"])
def test_other_durations_are_refused(text: str) -> None:
    """Anything else is a fault, never a guess."""
    with pytest.raises(CtlError, match="not a duration"):
        parse_duration_s(text)


@pytest.mark.parametrize(
    ("role", "clinic_id", "scopes", "patient_id", "says"),
    [
        (Role.ADMIN, "", None, None, "--clinic"),
        (Role.PLATFORM, CLINIC, None, None, "every role but platform"),
        (Role.ADMIN, "first", None, None, "not a UUID"),
        (Role.PATIENT, CLINIC, None, None, "--patient"),
        (Role.SERVICE, CLINIC, None, None, "--scope"),
    ],
)
def test_a_token_that_nobody_would_take_is_not_made(
    role: Role, clinic_id: str, scopes: list[str] | None, patient_id: str | None, says: str
) -> None:
    """The missing or wrong claim is named by its option."""
    with pytest.raises(CtlError, match=says):
        check_claims(role, clinic_id=clinic_id, scopes=scopes, provider_id=None, patient_id=patient_id)
