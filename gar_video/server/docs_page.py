"""``/docs``: what can be asked for, as one page without scripts, made from the schema."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem}"
    "code{background:#8882;padding:.1em .3em;border-radius:.2em;overflow-wrap:anywhere}"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;"
    "padding:.2rem .6rem .2rem 0;border-top:1px solid #8884}"
    "@media(prefers-color-scheme:dark){body{background:#111;color:#ddd}a{color:#8bf}}"
)


def docs_page(schema: Mapping[str, Any]) -> str:
    """Return the page.

    Args:
        schema: The application's OpenAPI schema.
    """
    models = schema.get("components", {}).get("schemas", {})
    title = escape(f"{schema['info']['title']} {schema['info']['version']}")
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width,initial-scale=1'>",
        f"<title>{title}</title><style>{_STYLE}</style><h1>{title}</h1>",
        f"<p>{escape(schema['info'].get('description', ''))}</p>",
        "<p>As a schema for programs: <a href=/openapi.json>/openapi.json</a></p>",
    ]
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            parts.append(f"<h2><code>{escape(method.upper())} {escape(path)}</code></h2>")
            parts.append(f"<p>{escape(operation.get('description', ''))}</p>")
            parts.append(_fields(operation, models))
    parts.append("<h2>Bodies</h2>")
    for name, model in models.items():
        if "Error" not in name and model.get("properties"):
            parts.append(f"<h3 id='{escape(name)}'>{escape(name)}</h3>")
            parts.append(f"<p>{escape(model.get('description', ''))}</p>{_table(model)}")
    return "".join(parts)


def _fields(operation: Mapping[str, Any], models: Mapping[str, Any]) -> str:
    content = operation.get("requestBody", {}).get("content", {})
    bodies: list[dict[str, Any]] = list(content.values())
    body = bodies[0].get("schema", {}) if bodies else {}
    parameters = operation.get("parameters", [])
    said = ""
    if parameters:
        names = ", ".join(f"<code>{escape(one['name'])}</code>" for one in parameters)
        said += f"<p>Parameters: {names}</p>"
    if body:
        said += f"<p>Body: {_kind(body)}</p>"
    return said


def _table(model: Mapping[str, Any]) -> str:
    required = set(model.get("required", ()))
    rows = [
        f"<tr><td><code>{escape(name)}</code>{'' if name in required else ' (optional)'}"
        f"<td>{_kind(field)}<td>{escape(str(field.get('description', '')))}"
        for name, field in model["properties"].items()
    ]
    return f"<table><tr><th>field<th>kind<th>meaning{''.join(rows)}</table>"


def _kind(field: Mapping[str, Any]) -> str:
    if "$ref" in field:
        name = escape(str(field["$ref"]).rsplit("/", 1)[-1])
        return f"<a href='#{name}'>{name}</a>"
    for several in ("anyOf", "oneOf", "allOf"):
        if several in field:
            return " or ".join(dict.fromkeys(_kind(one) for one in field[several]))
    if "const" in field:
        return f"<code>{escape(repr(field['const']))}</code>"
    if "enum" in field:
        return " or ".join(f"<code>{escape(repr(one))}</code>" for one in field["enum"])
    kind = str(field.get("type", field.get("format", "anything")))
    if kind == "array" and "items" in field:
        return f"list of {_kind(field['items'])}"
    return escape(kind)
