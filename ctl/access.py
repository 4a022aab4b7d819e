"""`medforall access revoke | restore`: shutting users and tokens out before their tokens end."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ctl.failures import CtlError, ServerError
from ctl.home import DEFAULT, Home
from ctl.subcommands import HomeOption, group, registrar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from chassis.auth.revocations import Revocations

app = group("access", "Shuts users and tokens out of every call and open stream before their tokens end.")
_command = registrar(app)
_out = Console()

_DAY_S = 86_400

ClinicOption = Annotated[str, typer.Option("--clinic", metavar="ID", help="The user's clinic.")]
UserOption = Annotated[str, typer.Option("--user", metavar="SUBJECT", help="The token's `sub`.")]


@_command(
    epilog="Examples: `medforall access revoke --clinic ID --user front_desk:ann` · "
    "`medforall access revoke --token-id JTI`"
)
def revoke(
    clinic: ClinicOption = "",
    user: UserOption = "",
    token_id: Annotated[str, typer.Option("--token-id", metavar="JTI", help="One token's `jti`.")] = "",
    days: Annotated[int, typer.Option("--days", min=1, max=400, help="For how long.")] = 30,
    home: HomeOption = DEFAULT,
) -> None:
    """Refuse a user or a token in every REST and gRPC call, and close their open streams, within a minute."""
    ttl_s = days * _DAY_S
    if token_id and not user:
        _with(home, lambda revocations: revocations.revoke_token(token_id, ttl_s))
    elif clinic and user and not token_id:
        _with(home, lambda revocations: revocations.revoke_user(clinic.lower(), user, ttl_s))
    else:
        raise CtlError("Give --clinic and --user, or --token-id alone.")
    _out.print(f"Shut out for {days} days.")


@_command(epilog="Example: `medforall access restore --clinic ID --user front_desk:ann`")
def restore(clinic: ClinicOption, user: UserOption, home: HomeOption = DEFAULT) -> None:
    """Let a user in again."""
    _with(home, lambda revocations: revocations.restore_user(clinic.lower(), user))
    _out.print("Let in again.")


def _with(home: Path, act: Callable[[Revocations], Awaitable[None]]) -> None:
    import asyncio  # noqa: PLC0415 - help stays quick

    from chassis.auth.revocations import Revocations  # noqa: PLC0415 - as above
    from chassis.cache import AsyncCache, build_breaker  # noqa: PLC0415 - as above
    from chassis.config import load  # noqa: PLC0415 - as above
    from chassis.settings import RedisSettings  # noqa: PLC0415 - as above
    from ctl.run_file import read_run_file  # noqa: PLC0415 - as above
    from scheduling.errors import Exhausted, Unavailable  # noqa: PLC0415 - as above

    url = os.environ.get("MEDFORALL_REDIS_URL") or read_run_file(Home(home)).redis_url

    async def run() -> None:
        settings = load(RedisSettings, {"MEDFORALL_REDIS_URL": url})
        cache = AsyncCache(settings, build_breaker(settings))
        try:
            await act(Revocations(cache))
        finally:
            await cache.stop()

    try:
        asyncio.run(run())
    except Unavailable as error:
        raise ServerError(
            "Redis cannot be reached.", hint="Is the suite running? medforall status"
        ) from error
    except Exhausted as error:
        raise CtlError(error.message) from error
