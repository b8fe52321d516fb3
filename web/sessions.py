"""Browser sessions: a key, or the one-time code of a link, is exchanged for a signed cookie."""

from aiohttp.web import Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from jabba.auth.roles import Caller, Permission
from jabba.auth.sessions import Sessions
from jabba.errors import InvalidRequest, Unauthorized, Unavailable
from jabba.jobs.models import invalid
from web import requests, responses, schemas
from web.api import COOKIE, ApiView, backends, read_body, respond
from web.authenticate import Authenticator
from web.operations import CALLER, Example, Operation, operation

_BODY_BYTES = 4096


class SignIn(BaseModel):
    """A key, or the code of a sign-in link."""

    model_config = ConfigDict(extra="forbid")

    key: schemas.Text | None = Field(default=None, max_length=_BODY_BYTES)
    code: schemas.Text | None = Field(default=None, max_length=_BODY_BYTES)


class SessionInfo(BaseModel):
    """Who is signed in: the role and the types of the key; `key` is its id, null where every caller is allowed."""

    role: str
    permissions: list[str]
    types: list[str]
    key: str | None


class Session(ApiView):
    """``/v1/session``: sign in, see who is signed in, sign out."""

    view_name = "session"
    view_path = "/v1/session"

    @operation(
        Operation(
            "Sign in",
            "Exchanges a key, or the code of a sign-in link, for a session cookie (HttpOnly, SameSite=Strict). The "
            "session ends with its key, or after `JABBA_SESSION_HOURS`.",
            answer=schemas.Data[SessionInfo],
            needs=None,
            body=SignIn,
            errors=(InvalidRequest, Unauthorized, Unavailable),
            example=Example(body={"key": "jabba_…"}),
        )
    )
    async def post(self, request: Request) -> Response:
        """Set the cookie of a new session."""
        given = _read(await read_body(request, _BODY_BYTES))
        keyring, sessions = backends(request).keyring, backends(request).sessions
        if keyring is None:
            return respond(_answer(request[CALLER]))
        who = await _who(given, keyring, sessions)
        response = respond(_answer(who))
        response.set_cookie(
            COOKIE,
            sessions.cookie_of(who.key or ""),
            max_age=int(sessions.seconds),
            httponly=True,
            samesite="Strict",
            secure=request.secure or request.headers.get("X-Forwarded-Proto") == "https",
        )
        return response

    @operation(
        Operation(
            "Get the session",
            "The role and types of the key, or of the session cookie, that the request carries.",
            answer=schemas.Data[SessionInfo],
            needs=Permission.READ,
            errors=(Unavailable,),
        )
    )
    async def get(self, request: Request) -> Response:
        """Return who is signed in."""
        return respond(_answer(request[CALLER]))

    @operation(
        Operation(
            "Sign out",
            "Deletes the session cookie.",
            answer=schemas.Data[dict[str, bool]],
            needs=None,
            errors=(),
        )
    )
    async def delete(self, _request: Request) -> Response:
        """Delete the cookie."""
        response = respond(responses.of_data({"signed_out": True}))
        response.del_cookie(COOKIE, httponly=True, samesite="Strict")
        return response


async def _who(given: SignIn, keyring: Authenticator, sessions: Sessions) -> Caller:
    if given.key is not None:
        return await keyring.caller(given.key)
    if given.code is not None:
        return await keyring.caller_of(sessions.redeem(given.code))
    raise InvalidRequest.at("key", "is required, or `code`")


def _read(body: bytes) -> SignIn:
    try:
        return SignIn.model_validate(requests.decode_json(body))
    except ValidationError as error:
        raise invalid(error) from error


def _answer(who: Caller) -> responses.Answer:
    info = SessionInfo(
        role=who.role,
        permissions=sorted(who.permissions),
        types=list(who.types.patterns),
        key=who.key,
    )
    return responses.of_data(info)
