import base64
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from jabba.callbacks.signature import SignatureError, secret_bytes, sign, verify

NOW = 1_764_583_200
WRITTEN = "whsec_" + base64.b64encode(bytes(range(24))).decode()
OTHER = "whsec_" + base64.b64encode(bytes(range(1, 33))).decode()
SECRET, OLD = secret_bytes(WRITTEN), secret_bytes(OTHER)
BODY = b'{"type":"jabba.call","name":"\xc3\xa9"}'

headers_of_anyone = st.dictionaries(
    st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]),
    st.one_of(st.text(st.characters()), st.sampled_from([str(NOW), "²", "-1", "1e9", "v1", "v1,", "v1,é v1,,"])),
)


def signed(*secrets: bytes, body: bytes = BODY, at: int = NOW) -> dict[str, str]:
    signatures = " ".join(sign(secret, "task-0", at, body) for secret in secrets)
    return {"webhook-id": "task-0", "webhook-timestamp": str(at), "webhook-signature": signatures}


def test_verifies_what_it_signs() -> None:
    verify([SECRET], signed(SECRET), BODY, NOW)


def test_a_known_vector() -> None:
    # The example of the Standard Webhooks specification.
    key = secret_bytes("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    found = sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_signature_of_either_secret_is_enough_while_they_rotate() -> None:
    verify([SECRET], signed(OLD, SECRET), BODY, NOW)
    verify([OLD, SECRET], signed(SECRET), BODY, NOW)


@pytest.mark.parametrize("body", [BODY + b" ", b"", BODY.swapcase()])
def test_refuses_another_body(body: bytes) -> None:
    with pytest.raises(SignatureError, match="no signature with a known secret"):
        verify([SECRET], signed(SECRET), body, NOW)


def test_refuses_another_secret_and_none() -> None:
    for secrets in ([OLD], []):
        with pytest.raises(SignatureError, match="no signature with a known secret"):
            verify(secrets, signed(SECRET), BODY, NOW)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_names_the_header_that_is_missing(name: str) -> None:
    headers = signed(SECRET)
    del headers[name]
    with pytest.raises(SignatureError, match=f"^{name} is missing"):
        verify([SECRET], headers, BODY, NOW)


@pytest.mark.parametrize("age", [-301, 301])
def test_refuses_a_replay(age: int) -> None:
    verify([SECRET], signed(SECRET), BODY, NOW + age / 301 * 300)
    with pytest.raises(SignatureError, match="more than 300 seconds from now"):
        verify([SECRET], signed(SECRET), BODY, NOW + age)


@given(headers_of_anyone)
def test_refuses_hostile_headers_with_its_own_error(headers: dict[str, str]) -> None:
    with pytest.raises(SignatureError):
        verify([SECRET], headers, BODY, NOW)


@given(st.text(st.characters()), st.integers(0, 2))
def test_refuses_a_hostile_value_of_a_header_among_good_ones(value: str, which: int) -> None:
    headers = signed(SECRET)
    name = sorted(headers)[which]
    good = headers[name]
    headers[name] = value
    if value != good:
        with pytest.raises(SignatureError):
            verify([SECRET], headers, BODY, NOW)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_é", "whsec_AAAA", WRITTEN[6:], WRITTEN + "!", OTHER * 3])
def test_refuses_a_secret_of_another_form_without_showing_it(secret: str) -> None:
    with pytest.raises(SignatureError, match=r"^a secret is whsec_ and 24 to 64 bytes as base64$"):
        secret_bytes(secret)


@given(st.binary(min_size=24, max_size=64), st.text())
def test_the_library_of_the_standard_verifies_our_signatures(secret: bytes, text: str) -> None:
    at = int(datetime.now(UTC).timestamp())
    body = text.encode(errors="replace")
    headers = signed(secret, body=body, at=at)
    Webhook(base64.b64encode(secret).decode()).verify(body, headers, json_parse=False)


@given(st.binary(min_size=24, max_size=64), st.text())
def test_we_verify_the_signatures_of_the_library(secret: bytes, text: str) -> None:
    body = text.encode(errors="replace")
    at = datetime.fromtimestamp(NOW, UTC)
    signature = Webhook(base64.b64encode(secret).decode()).sign("task-0", at, body.decode())
    headers = {"webhook-id": "task-0", "webhook-timestamp": str(NOW), "webhook-signature": signature}
    verify([secret], headers, body, NOW)
