"""The documentation as one page of HTML, made from the OpenAPI document: no script, nothing from elsewhere."""

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --mark: #0a7a55; }
@media (prefers-color-scheme: dark) { :root { --mark: #4ec9a0; } }
* { box-sizing: border-box; }
body { margin: 0; font: 16px/1.5 system-ui, sans-serif; }
main, header { max-width: 64rem; margin: 0 auto; padding: 1rem 1.5rem; }
h1 { margin: 1rem 0 0; } h2 { margin: 0; font-size: 1.1rem; } h3 { margin: 1rem 0 .25rem; font-size: .95rem; }
a { color: var(--mark); }
code, pre { font: .875rem/1.45 ui-monospace, monospace; }
pre { background: var(--soft); padding: .75rem 1rem; overflow-x: auto; border-radius: .4rem; margin: .25rem 0; }
nav { columns: 18rem; } nav a { display: block; text-decoration: none; }
section { border-top: 1px solid var(--line); padding: 1.25rem 0; scroll-margin-top: 1rem; }
.method { display: inline-block; min-width: 3.5rem; font: bold .875rem ui-monospace, monospace; color: var(--mark); }
table { border-collapse: collapse; width: 100%; }
td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; }
tr + tr { border-top: 1px solid var(--line); }
details { margin: .25rem 0; } summary { cursor: pointer; }
"""

Document = Mapping[str, Any]


def render(document: Document) -> str:
    """Return the page of an OpenAPI document."""
    info = document["info"]
    title = f"{info['title']} {info['version']}"
    body = [
        f"<header><h1>{escape(title)}</h1>{_prose(info['description'])}",
        '<p>The same for programs: <a href="/openapi.json">/openapi.json</a>.</p>',
        f"<nav>{''.join(_entries(document))}</nav></header>",
        f"<main>{''.join(_sections(document))}<h1>Forms</h1>{''.join(_forms(document))}</main>",
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>{''.join(body)}</body></html>"
    )


def _operations(document: Document) -> Iterator[tuple[str, str, Document]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def _entries(document: Document) -> Iterator[str]:
    for method, path, operation in _operations(document):
        place = escape(operation["operationId"], quote=True)
        yield f'<a href="#{place}" title="{escape(operation["summary"], quote=True)}">{_title(method, path)}</a>'


def _sections(document: Document) -> Iterator[str]:
    for method, path, operation in _operations(document):
        place = escape(operation["operationId"], quote=True)
        yield f'<section id="{place}"><h2>{_title(method, path)}</h2>'
        yield f"<p><strong>{escape(operation['summary'])}.</strong> {_code(operation['description'])}</p>"
        yield from _parameters(operation)
        yield f"<h3>Example</h3><pre>{escape(_curl(method, path, operation))}</pre>"
        yield from _body(operation)
        yield from _responses(operation)
        yield "</section>"


def _title(method: str, path: str) -> str:
    return f'<span class="method">{method}</span> <code>{escape(path)}</code>'


def _parameters(operation: Document) -> Iterator[str]:
    if not operation.get("parameters"):
        return
    yield "<h3>Parameters</h3><table>"
    for one in operation["parameters"]:
        where = "" if one["in"] == "query" else f" <small>({one['in']})</small>"
        yield f"<tr><td><code>{escape(one['name'])}</code>{where}</td><td>{_code(one['description'])}</td>"
        yield f"<td>{_form(one['schema'])}</td></tr>"
    yield "</table>"


def _body(operation: Document) -> Iterator[str]:
    body = operation.get("requestBody", {})
    for kind, content in body.get("content", {}).items():
        yield f"<h3>Body</h3><p><code>{escape(kind)}</code>: {_form(content['schema'])}{_item(body)}</p>"


def _responses(operation: Document) -> Iterator[str]:
    yield "<h3>Answers</h3><table>"
    for status, answer in operation["responses"].items():
        forms = [
            f"<code>{escape(kind)}</code> {_form(content['schema'])}"
            for kind, content in answer.get("content", {}).items()
        ]
        yield f"<tr><td><code>{status}</code></td><td>{_code(answer['description'])}</td>"
        yield f"<td>{''.join(forms)}{_item(answer)}</td></tr>"
    yield "</table>"


def _item(streamed: Document) -> str:
    return f", each {_form(streamed['x-item'])}" if "x-item" in streamed else ""


def _forms(document: Document) -> Iterator[str]:
    for name, schema in document["components"]["schemas"].items():
        text = escape(json.dumps(schema, indent=2, ensure_ascii=False))
        yield f'<section id="form-{escape(name)}"><h2><code>{escape(name)}</code></h2>'
        yield f"<p>{_code(schema.get('description', ''))}</p><details><summary>Schema</summary>"
        yield f"<pre>{text}</pre></details></section>"


def _form(schema: Document) -> str:
    """Return a schema in a few words, with links to those that have a name."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#form-{name}">{name}</a>'
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return " | ".join(f"<code>{escape(str(value))}</code>" for value in values)
    if "anyOf" in schema:
        return " | ".join(_form(one) for one in schema["anyOf"])
    if schema.get("type") == "array" and "items" in schema:
        return f"list of {_form(schema['items'])}"
    if "properties" in schema:
        inner = ", ".join(f"{escape(name)}: {_form(one)}" for name, one in schema["properties"].items())
        return f"{{{inner}}}"
    return escape(str(schema.get("format") or schema.get("type", "any")))


def _curl(method: str, path: str, operation: Document) -> str:
    """Return a command that sends the example."""
    parameters = operation.get("parameters", [])
    query = "&".join(f"{p['name']}={p['example']}" for p in parameters if p["in"] == "query" and "example" in p)
    for one in parameters:
        if one["in"] == "path":
            path = path.replace(f"{{{one['name']}}}", str(one["example"]))
    key = ' -H "Authorization: Bearer $JABBA_KEY"' if operation["security"] else ""
    command = f"curl -s{key} 'http://127.0.0.1:8600{path}{f'?{query}' if query else ''}'"
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        example = content.get("example", "")
        text = example if isinstance(example, str) else json.dumps(example, ensure_ascii=False)
        command += f" \\\n  -H 'Content-Type: {kind}' \\\n  --data-binary '{text}'"
    return command if method in ("GET", "POST") else command.replace("curl", f"curl -X {method}", 1)


def _prose(text: str) -> str:
    return "".join(f"<p>{_code(part)}</p>" for part in text.strip().split("\n\n"))


def _code(text: str) -> str:
    """Return a text whose parts between backticks are code."""
    parts = escape(text.replace("``", "`")).split("`")
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))
