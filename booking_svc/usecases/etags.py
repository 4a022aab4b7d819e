"""One rule for entity tags: an entry's or an appointment's tag is its version in quotes."""

from __future__ import annotations

from scheduling.errors import Reason, Stale


def require_version(etag: str, version: int, what: str) -> None:
    """Refuse a change of something that has changed since it was read. An empty tag, or `*`, checks nothing.

    A weak tag and one that lost its quotes on the way are the version they name.
    """
    wanted = etag.strip().removeprefix("W/")
    if wanted in ("", "*") or wanted.strip('"') == str(version):
        return
    raise Stale(
        f"{what} has changed since it was read.",
        reason=Reason.STALE_ETAG,
        metadata={"currentEtag": f'"{version}"'},
    )
