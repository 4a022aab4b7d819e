"""Settings: read once, checked, documented, never leaked."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from chassis.config import ConfigError, Listen, describe, load, parse_listen, render_markdown, setting
from chassis.settings import AuthSettings, CommonSettings, Environment, NatsSettings, RedisSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    common: CommonSettings
    rows_max: int = setting(
        "SAMPLE_ROWS", default=200, unit="rows", minimum=1, maximum=1_000, doc="Rows a batch."
    )
    ratio: float | None = setting("SAMPLE_RATIO", default=None, doc="A share.")
    names: tuple[str, ...] = setting("SAMPLE_NAMES", default=(), doc="Names.")
    is_on: bool = setting("SAMPLE_ON", default=True, doc="A switch.")
    folder: Path | None = setting("SAMPLE_FOLDER", default=None, doc="A folder.")
    password: str = setting("SAMPLE_PASSWORD", secret=True, doc="A password.")


def test_values_are_read_in_their_types() -> None:
    """Each field is parsed as its annotation says, nested classes from the same environment."""
    sample = load(
        Sample,
        {
            "SAMPLE_ROWS": "5",
            "SAMPLE_RATIO": "0.5",
            "SAMPLE_NAMES": "a, b,",
            "SAMPLE_ON": "off",
            "SAMPLE_FOLDER": "/x",
            "SAMPLE_PASSWORD": "hunter2",
            "MEDFORALL_ENVIRONMENT": "test",
            "MEDFORALL_METRICS_LISTEN": "[::1]:9000",
        },
    )
    assert (sample.rows_max, sample.ratio, sample.names, sample.is_on) == (5, 0.5, ("a", "b"), False)
    assert sample.folder == Path("/x")
    assert sample.common.environment is Environment.TEST
    assert sample.common.metrics_listen == Listen("::1", 9000)


def test_unset_and_empty_variables_take_the_default() -> None:
    """An empty variable counts as unset."""
    sample = load(Sample, {"SAMPLE_ROWS": " ", "SAMPLE_PASSWORD": "x"})
    assert (sample.rows_max, sample.ratio, sample.folder) == (200, None, None)


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({}, "SAMPLE_PASSWORD is not set: A password."),
        ({"SAMPLE_ROWS": "many"}, "SAMPLE_ROWS is malformed: 'many' is not a whole number."),
        ({"SAMPLE_ROWS": "0"}, "SAMPLE_ROWS is 0, below its minimum of 1 rows."),
        ({"SAMPLE_ROWS": "1001"}, "SAMPLE_ROWS is 1001, above its maximum of 1000 rows."),
        ({"SAMPLE_ON": "maybe"}, "SAMPLE_ON is malformed: 'maybe' is not on or off."),
        ({"SAMPLE_RATIO": "x"}, "SAMPLE_RATIO is malformed: 'x' is not a number."),
        ({"MEDFORALL_LOG_LEVEL": "loud"}, "'loud' is not one of debug, info, warning, error."),
        ({"MEDFORALL_ENVIRONMENT": "moon"}, "'moon' is not one of development, test, staging, production."),
        ({"MEDFORALL_METRICS_LISTEN": "9000"}, "'9000' is not host:port."),
    ],
)
def test_what_is_wrong_is_one_sentence(environ: dict[str, str], sentence: str) -> None:
    """A missing or malformed variable is named, with what it should be."""
    with pytest.raises(ConfigError) as caught:
        load(Sample, environ)
    assert sentence in str(caught.value)
    assert str(caught.value).count("\n") == 0


def test_secrets_are_never_shown() -> None:
    """Neither repr nor documentation nor an error shows a secret."""
    settings = load(RedisSettings, {"MEDFORALL_REDIS_URL": "redis://:hunter2@h"})
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in repr(describe(RedisSettings))


@pytest.mark.parametrize("raw", ["", "host", ":80", "host:", "host:x", "host:70000"])
def test_listen_addresses_are_checked(raw: str) -> None:
    """Only host:port with a real port is an address."""
    with pytest.raises(ValueError, match="host:port"):
        parse_listen(raw)


def test_listen_addresses_print_as_they_are_read() -> None:
    """Both address families survive a round trip."""
    for raw in ("127.0.0.1:80", "[::1]:0"):
        assert str(parse_listen(raw)) == raw


@pytest.mark.parametrize("cls", [CommonSettings, AuthSettings, RedisSettings, NatsSettings])
def test_every_setting_is_documented(cls: type) -> None:
    """Each setting has a variable of ours and a sentence."""
    for doc in describe(cls):
        assert doc.env.startswith("MEDFORALL_")
        assert doc.doc.endswith(".")


def test_the_page_lists_defaults_units_and_bounds() -> None:
    """The documentation shows what an operator needs."""
    page = render_markdown([("Sample", "A sample.", describe(Sample))])
    assert "| `SAMPLE_ROWS` | Rows a batch. | `200` | rows (1 … 1000) |" in page
    assert "| `SAMPLE_PASSWORD` | A password. Secret. | **required** |  |" in page
    assert "| `SAMPLE_ON` | A switch. | `on` |  |" in page
