"""The OpenAPI document, made from the operations of the views that are served."""

import json
import re
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any, Literal

from faust.web import View
from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from jabba import search
from jabba.auth.roles import Permission, roles_with
from jabba.errors import Forbidden, RequestError, Unauthorized
from jabba.search import Collection
from web import schemas, search_schema
from web.operations import JSON, Operation, Parameter, operations_of

VERSION = "3.1.0"

PATH_EXAMPLES = {"id": "01a209c9-653a-759d-9e2f-780696e9f381", "task": "01a209c9-653a-8e01-a1b2-c3d4e5f60718"}

_REFERENCE = "#/components/schemas/{model}"
_ABOUT = """\
Submit jobs, look at them, search them and hear what happens to them.

Every request but those for health needs a key: `Authorization: Bearer KEY`. Its role decides what it may do, and it may
be limited to jobs of some types: others are not there for it.

Every answer is `{"data": …}`, every error `{"error": {"type", "message", "fields"}}`: `type` is a stable word, and
`fields` names every mistake by its path.

A request that was answered with 503, or not at all, may be sent again as it is, but for a submission without an `id`:
each of those is a job of its own. With a UUIDv7 as `id`, the same body is answered with 201 and the job there is,
another body is refused with 409. The id must be of this moment: 5 minutes later the answer is 422, and
`GET /v1/jobs/{id}` tells whether there is such a job. The Python clients send an id by themselves.
"""

Document = dict[str, Any]

_SCHEMES: Document = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A key, as `jabba keys create` prints it."},
    "basic": {"type": "http", "scheme": "basic", "description": "For browsers: any name, and the key as password."},
}
_REFUSALS: tuple[type[RequestError], ...] = (Unauthorized, Forbidden)

_PATTERN = re.compile(r"\{(\w+):[^{}]*\}")


def document(views: Iterable[type[View]]) -> Document:
    """Return the document of these views."""
    components = _Components()
    paths: dict[str, Document] = {}
    for view in views:
        for method, operation in operations_of(view).items():
            described = _described(view, method, operation, components)
            paths.setdefault(path_of(view), {})[method.lower()] = described
    return {
        "openapi": VERSION,
        "info": {"title": "Jabba", "version": version("jabba"), "description": _ABOUT},
        "paths": paths,
        "components": {"schemas": components.schemas, "securitySchemes": _SCHEMES},
    }


def path_of(view: type[View]) -> str:
    """Return a view's path, without the patterns of its parts."""
    return _PATTERN.sub(r"{\1}", view.view_path)


class _Components:
    """The schemas that the document refers to, by name."""

    def __init__(self) -> None:
        self.schemas: dict[str, Document] = {}

    def schema(self, what: Any, mode: Literal["validation", "serialization"]) -> Document:
        """Return the schema of a type, or of a collection's search; what it refers to becomes a component."""
        if isinstance(what, Collection):
            self.schemas |= search_schema.components()
            return {"$ref": _REFERENCE.format(model=search_schema.search_of(what))}
        if isinstance(what, search.Field):
            return search_schema.value_of(what)
        made = TypeAdapter(what).json_schema(ref_template=_REFERENCE, mode=mode, schema_generator=_Plain)
        self.schemas |= made.pop("$defs", {})
        if "JsonValue" in self.schemas:
            self.schemas["JsonValue"] = search_schema.JSON_VALUE
        if not isinstance(what, type) or not issubclass(what, BaseModel) or issubclass(what, schemas.Data):
            return {key: value for key, value in made.items() if key != "title"}
        self.schemas[what.__name__] = made
        return {"$ref": _REFERENCE.format(model=what.__name__)}


class _Plain(GenerateJsonSchema):
    """Leaves the titles out, which only repeat the names, and says what the keys of a map may not hold."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 — Pydantic's interface
        """Return that none should."""
        return False

    def dict_schema(self, schema: Any) -> Document:
        """Return the schema of a map."""
        return super().dict_schema(schema) | {"propertyNames": search_schema.TEXT}


def _described(view: type[View], method: str, operation: Operation, components: _Components) -> Document:
    described: Document = {
        "operationId": f"{method.lower()}_{view.view_name}",
        "summary": operation.summary,
        "description": f"{operation.what} {_needed(operation)}",
        "security": [{name: []} for name in _SCHEMES] if operation.needs else [],
        "responses": _responses(operation, components),
    }
    if parameters := [*_path_parameters(view), *operation.parameters]:
        described["parameters"] = [_parameter(one, operation, components) for one in parameters]
    if operation.body is not None:
        content: Document = {"schema": components.schema(operation.body, "validation")}
        if operation.example.body is not None:
            content["example"] = operation.example.body
        body: Document = {"required": True, "content": {operation.body_content: content}}
        if operation.body_item is not None:
            body["x-item"] = components.schema(operation.body_item, "validation")
        described["requestBody"] = body
    return described


def _needed(operation: Operation) -> str:
    if operation.needs is None:
        return "Open to everyone."
    more = [f"Without `{name}` it needs {_held(one)}." for name, one in operation.needs_without.items()]
    return " ".join([f"Needs {_held(operation.needs)}.", *more])


def _held(permission: Permission) -> str:
    return f"the permission `{permission}`, which a key has as {' or '.join(roles_with(permission))}"


def _path_parameters(view: type[View]) -> list[Parameter]:
    names = [part.strip("{}") for part in path_of(view).split("/") if part.startswith("{")]
    return [Parameter(name, schemas.Id, "The job's id.", PATH_EXAMPLES[name], "path") for name in names]


def _parameter(one: Parameter, operation: Operation, components: _Components) -> Document:
    example = operation.example.query.get(one.name, one.example)
    described: Document = {
        "name": one.name,
        "in": one.place,
        "required": one.place == "path",
        "description": one.what,
        "schema": components.schema(one.type, "validation"),
    }
    return described if example is None else described | {"example": _as_typed(example, described["schema"])}


def _as_typed(example: str, schema: Mapping[str, Any]) -> Any:
    return json.loads(example) if schema.get("type") in ("boolean", "integer") else example


def _responses(operation: Operation, components: _Components) -> Document:
    answer: Document = {"description": "As asked."}
    if operation.answer is not None:
        answer["content"] = {operation.content: {"schema": components.schema(operation.answer, "serialization")}}
    if operation.item is not None:
        answer["x-item"] = components.schema(operation.item, "serialization")
    error = {JSON: {"schema": components.schema(schemas.Error, "serialization")}}
    responses = {str(operation.status): answer}
    refusals = _REFUSALS if operation.needs else ()
    for kind in sorted((*refusals, *operation.errors), key=lambda one: one.status):
        responses[str(kind.status)] = {"description": _sentence(kind), "content": error}
    return responses | {"default": {"description": "Every other error has the same form.", "content": error}}


def _sentence(kind: type[Exception]) -> str:
    return (kind.__doc__ or "").partition("\n")[0]
