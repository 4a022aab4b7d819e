"""Who calls over HTTP, and whether the contract lets them. The services verify the same token again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from chassis.auth.principal import Principal, Role
from chassis.auth.verifier import TokenVerifier, UnknownKey
from chassis.interceptors.auth import bearer_token, check_access
from chassis.interceptors.methods import Method
from chassis.lifecycle import Fatal
from chassis.tasks import end_tasks
from gateway.problems import UnknownCaller
from gateway.rate_limit import Limiter
from scheduling.errors import NotFound, TokenExpired, Unauthenticated, Unavailable

AUTHORIZATION = "authorization"
CLINIC_VARIABLE = "clinic_id"


_REFRESH_CHECK_S = 1.0


class Keys:
    """Reads the key set before the first request needs it, and again when it is due."""

    name = "keys"

    def __init__(self, verifier: TokenVerifier) -> None:
        self._verifier = verifier
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read the keys. Raises Fatal when there are none."""
        try:
            await asyncio.to_thread(self._verifier.refresh)
        except Unavailable as error:
            raise Fatal(f"The keys that verify tokens cannot be read: {error}") from error
        self._task = asyncio.create_task(self._keep_fresh(), name="keys")

    async def stop(self) -> None:
        """Read no more."""
        task, self._task = self._task, None
        if task is not None:
            await end_tasks(task)

    async def _keep_fresh(self) -> None:
        while True:
            await asyncio.sleep(_REFRESH_CHECK_S)
            if self._verifier.is_due():
                # The old keys go on being used while the source is away.
                await asyncio.gather(asyncio.to_thread(self._verifier.refresh), return_exceptions=True)


class Authenticator:
    """Verifies bearer tokens; reads the key set again, off the loop, when a token names a new key.

    Whoever comes with none that is good counts by its address: guesses are as rare as calls without a token.
    """

    def __init__(self, verifier: TokenVerifier, limiter: Limiter) -> None:
        self._verifier = verifier
        self._limiter = limiter

    async def principal(self, headers: Mapping[str, str], client: str, method: Method) -> Principal | None:
        """The caller; None for a public call, or for one without a token where the contract allows that.

        Raises UnknownCaller, and RateLimited when its address has come with too many.
        """
        header = headers.get(AUTHORIZATION)
        if method.public or (not header and method.anonymous):
            return None
        return await self.bearer(header, client)

    async def bearer(self, header: str | None, client: str) -> Principal:
        """The principal of an `Authorization` header. Raises as `principal` does."""
        return await self.counted(lambda: self._verified(bearer_token(header)), client)

    async def verify(self, token: str, client: str) -> Principal:
        """The principal of a token. Raises as `principal` does."""
        return await self.counted(lambda: self._verified(token), client)

    async def counted(self, verify: Callable[[], Awaitable[Principal]], client: str) -> Principal:
        """Whom `verify` finds; that it finds nobody counts. Raises as `principal` does."""
        try:
            return await verify()
        except TokenExpired as error:
            # Its caller is known, and must hear that it needs another one: everybody's at a place may end together.
            raise UnknownCaller(error.message, {}) from None
        except Unauthenticated as error:
            raise UnknownCaller(error.message, await self._limiter.count_unknown(client)) from None

    async def _verified(self, token: str) -> Principal:
        try:
            return self._verifier.verify(token)
        except UnknownKey:
            await asyncio.to_thread(self._verifier.refresh)
        try:
            return self._verifier.verify(token)
        except UnknownKey:
            raise Unauthenticated("The token is signed by an unknown key.") from None


def authorize(method: Method, principal: Principal, variables: Mapping[str, str]) -> None:
    """Hold the caller against the contract and its own clinic.

    Raises NotFound for another clinic's address, the same as for one that does not exist, and Forbidden for a
    role or scope that does not suffice.
    """
    clinic_id = variables.get(CLINIC_VARIABLE)
    if (
        clinic_id is not None
        and clinic_id.lower() != principal.clinic_id
        and principal.role is not Role.PLATFORM
    ):
        raise NotFound("There is no such clinic.")
    check_access(method, principal)
