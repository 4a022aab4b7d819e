"""Values reach PostgreSQL as they are, lists of words included."""

from __future__ import annotations

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from database.pipeline import Connection, Statement
from tests.support.servers import Servers

_ECHO = Statement("echo_words", "SELECT $1::text[]")
_WORDS = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
    | st.sampled_from(
        ["NULL", "null", "", '"', "\\", "{", "a,b", "a-b_c", "0af-9", "-", "c,d", "e\n", "0,", ","]
    )
    | st.none(),
    max_size=5,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(_WORDS, min_size=1, max_size=10))
async def test_lists_of_any_words_arrive_unchanged(servers: Servers, words: list[list[str | None]]) -> None:
    """What is sent as an array of text is what PostgreSQL has: quotes, braces, the word NULL and NULL included."""
    connection = Connection(await psycopg.AsyncConnection.connect(servers.postgres_url, autocommit=True))
    try:
        replies = [connection.queue(_ECHO, wanted) for wanted in words]
        await connection.run()
        assert [reply.rows()[0][0] for reply in replies] == words
    finally:
        await connection.close()
