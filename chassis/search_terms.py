"""The normal forms that searchable values are hashed in.

What a person types is found however it is written.
"""

from __future__ import annotations

import re
import unicodedata

_WORDS = re.compile(r"[^\W_]+")
_WORDS_MAX = 8
_PREFIX_CHARS_MAX = 12

PREFIX_CHARS_MIN = 2


def normal_text(text: str) -> str:
    """`text` without case, accents, compatibility forms and doubled spaces.

    `"  ÅSA  Müller"` → `"asa muller"`.
    """
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(char for char in decomposed if not unicodedata.combining(char))
    return " ".join(unicodedata.normalize("NFKC", plain).split())


def normal_email(address: str) -> str:
    """A mail address in lower case without surrounding space."""
    return unicodedata.normalize("NFKC", address).strip().casefold()


def normal_phone(number: str) -> str:
    """A phone number's digits, with a leading plus if it has one (`00` counts as plus)."""
    digits = "".join(str(unicodedata.digit(char)) for char in number if char.isdigit())
    if number.strip().startswith("+"):
        return "+" + digits
    return "+" + digits[2:] if digits.startswith("00") else digits


def words_of(text: str) -> list[str]:
    """The words of a name in normal form, at most eight."""
    return _WORDS.findall(normal_text(text))[:_WORDS_MAX]


def prefixes_of(text: str) -> list[str]:
    """Every prefix (2 to 12 characters, and each whole word) that finds `text`, without repetition."""
    prefixes: dict[str, None] = {}
    for word in words_of(text):
        longest = min(len(word), _PREFIX_CHARS_MAX)
        prefixes.update(
            (word[:length], None) for length in range(min(PREFIX_CHARS_MIN, longest), longest + 1)
        )
    return list(prefixes)


def searched_prefixes(text: str) -> list[str]:
    """The prefixes that a search for `text` asks for: one a word, cut to what is indexed."""
    return list(dict.fromkeys(word[:_PREFIX_CHARS_MAX] for word in words_of(text)))
