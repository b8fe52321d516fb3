"""Signed tokens: who holds the secret can read them, nobody else can make or change one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jabba.auth import tokens
from jabba.errors import Unauthorized

SECRET = b"a secret"


def test_a_token_gives_its_claims_back_until_it_expires() -> None:
    token = tokens.sign(SECRET, "session", {"key": "abc"}, 100)

    assert tokens.read(SECRET, "session", token, 99.9) == {"key": "abc", "exp": 100}
    with pytest.raises(Unauthorized, match="expired"):
        tokens.read(SECRET, "session", token, 100)


@pytest.mark.parametrize("secret, purpose", [(b"another", "session"), (SECRET, "completion")])
def test_it_is_for_one_secret_and_one_purpose(secret: bytes, purpose: str) -> None:
    with pytest.raises(Unauthorized, match="signature"):
        tokens.read(secret, purpose, tokens.sign(SECRET, "session", {}, 100), 0)


@given(st.integers(0, 40), st.characters(exclude_categories=["Cs"]))
def test_no_character_of_it_can_be_changed(place: int, character: str) -> None:
    token = tokens.sign(SECRET, "session", {"key": "abc"}, 100)
    changed = token[:place] + character + token[place + 1 :]

    if changed != token:
        with pytest.raises(Unauthorized):
            tokens.read(SECRET, "session", changed, 0)


@pytest.mark.parametrize("token", ["", ".", "a", "a.b", "é.é", "x" * 5000 + "."])
def test_what_is_not_a_token_is_refused(token: str) -> None:
    with pytest.raises(Unauthorized):
        tokens.read(SECRET, "session", token, 0)
