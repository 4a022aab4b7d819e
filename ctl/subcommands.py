"""What the groups of commands have in common: the home's option, and a failure told in one sentence."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, ParamSpec
from uuid import UUID

import typer
from rich.console import Console

from ctl.console import print_failure
from ctl.failures import CtlError
from ctl.home import Home

_Arguments = ParamSpec("_Arguments")

HomeOption = Annotated[
    Path,
    typer.Option(
        "--home",
        help="Directory with the suite's data, keys and logs.",
        envvar="MEDFORALL_HOME",
        show_default=".medforall in the current directory",
    ),
]


def group(name: str, sentence: str) -> typer.Typer:
    """An empty group of commands."""
    return typer.Typer(
        name=name,
        no_args_is_help=True,
        rich_markup_mode="markdown",
        context_settings={"help_option_names": ["-h", "--help"]},
        help=sentence,
        pretty_exceptions_show_locals=False,
    )


def registrar(
    app: typer.Typer,
) -> Callable[..., Callable[[Callable[_Arguments, None]], Callable[_Arguments, None]]]:
    """A decorator that adds commands to `app`; a `CtlError` in one becomes a sentence and the error's exit code."""

    def command(
        *, epilog: str, name: str | None = None
    ) -> Callable[[Callable[_Arguments, None]], Callable[_Arguments, None]]:
        def register(function: Callable[_Arguments, None]) -> Callable[_Arguments, None]:
            @wraps(function)
            def told(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> None:
                try:
                    function(*args, **kwargs)
                except CtlError as error:
                    print_failure(Console(stderr=True), error)
                    raise typer.Exit(error.exit_code) from error

            return app.command(name, epilog=epilog)(told)

        return register

    return command


def home_of(path: Path) -> Home:
    """The home at a path, which may begin with a tilde."""
    return Home(path.expanduser().absolute())


def uuid_of(option: str, text: str) -> str | None:
    """An option's id as it is written inside, None for an empty one. Raises CtlError for anything else."""
    try:
        return str(UUID(text)) if text else None
    except ValueError:
        raise CtlError(f"{option} {text!r} is not a UUID.") from None
