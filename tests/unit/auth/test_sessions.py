"""Session cookies and sign-in codes."""

import pytest

from jabba.auth.sessions import LINK_SECONDS, Sessions, secret_of, sign_in_code
from jabba.errors import Unauthorized
from tests.support.clocks import HandClock

SECRET = secret_of("one for all web processes")


def test_a_cookie_is_valid_on_every_process_with_the_secret_until_it_expires() -> None:
    clock = HandClock()
    cookie = Sessions(SECRET, clock.now, 60).cookie_of("abc")
    other = Sessions(secret_of("one for all web processes"), clock.now, 60)

    assert other.key_of(cookie) == "abc"
    with pytest.raises(Unauthorized):
        Sessions(secret_of("another"), clock.now, 60).key_of(cookie)
    clock.seconds += 60
    with pytest.raises(Unauthorized, match="expired"):
        other.key_of(cookie)


def test_a_code_opens_one_session_and_is_not_a_cookie() -> None:
    clock = HandClock()
    sessions = Sessions(SECRET, clock.now, 60)
    code = sign_in_code(SECRET, "abc", clock.now())

    with pytest.raises(Unauthorized):
        sessions.key_of(code)
    assert sessions.redeem(code) == "abc"
    with pytest.raises(Unauthorized, match="used"):
        sessions.redeem(code)
    late = sign_in_code(SECRET, "abc", clock.now())
    clock.seconds += LINK_SECONDS
    with pytest.raises(Unauthorized, match="expired"):
        sessions.redeem(late)


def test_without_a_secret_each_process_has_its_own() -> None:
    assert secret_of("") != secret_of("")
