"""The TypeScript client, from the OpenAPI document: one method for each operation, one type for each schema."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_HEAD = "// Made from docs/openapi.json by `make clients`; not edited by hand.\n"
_NAME = re.compile(r"[A-Za-z_$][\w$]*")

_PREAMBLE = """
export class MedforallError extends Error {
  status: number;
  reason: string;
  details: NonNullable<Error_["details"]>;
  requestId: string;
}

export interface Answer<T> { status: number; etag: string | null; replayed: boolean; data: T }

/** The answer when what `ifNoneMatch` names still holds. */
export interface Unchanged { status: 304; etag: string | null; replayed: false; data: undefined }

export interface CallOptions {
  /** The `etag` that was read; the call is refused with STALE_ETAG when it has changed since. */
  ifMatch?: string;
  /** One per intent; a fresh one is made when it is left out. */
  idempotencyKey?: string;
  /** Ends the call, and the wait for another try. */
  signal?: AbortSignal;
}

export interface ConditionalOptions extends CallOptions {
  /** The `etag` of the answer at hand. */
  ifNoneMatch?: string;
}

export interface Settings {
  baseUrl: string;
  token?: string | (() => string | Promise<string>);
  fetch?: typeof globalThis.fetch;
  timeoutMs?: number;
  /** How often a call is tried, the first time included; only what may safely be tried again is. */
  attempts?: number;
  firstWaitMs?: number;
  /** The longest wait for another try; a call whose service asks for a longer one fails at once. */
  waitMaxMs?: number;
}
"""


def declarations(document: Mapping[str, Any]) -> str:
    """The `.d.ts` file."""
    schemas = document["components"]["schemas"]
    types = "\n".join(
        f"{_comment(schema, '')}export type {_type_name(name)} = {_type(schema)};\n"
        for name, schema in schemas.items()
    )
    methods = "\n".join(_method_type(*operation) for operation in _operations(document))
    body = f"\nexport class Medforall {{\n  constructor(settings: Settings);\n{methods}}}\n"
    return _HEAD + _PREAMBLE + "\n" + types + body


def module(document: Mapping[str, Any]) -> str:
    """The JavaScript file."""
    methods = "\n".join(_method(*operation) for operation in _operations(document))
    return (
        f'{_HEAD}import {{ MedforallError, Transport }} from "./http.js";\n\nexport {{ MedforallError }};\n\n'
        f"export class Medforall {{\n  #transport;\n\n"
        f"  constructor(settings) {{\n    this.#transport = new Transport(settings);\n  }}\n\n{methods}}}\n"
    )


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if _answer_schema(operation) is not None:
                yield path, method, operation


def _answer_schema(operation: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The schema of the good answer; None for a stream, which is no call."""
    answer = next(value for status, value in operation["responses"].items() if status.startswith("2"))
    content: Mapping[str, Any] = answer["content"].get("application/json", {})
    return content.get("schema")


def _method(path: str, method: str, operation: Mapping[str, Any]) -> str:
    places = {place: _parameters(operation, place) for place in ("path", "query")}
    call = {
        "method": method.upper(),
        "path": path,
        "pathNames": [parameter["name"] for parameter in places["path"]],
        "queryNames": [parameter["name"] for parameter in places["query"]],
        "hasKey": any(parameter["name"] == "Idempotency-Key" for parameter in operation["parameters"]),
    }
    name = operation["operationId"]
    body, given = ("body = {}, ", "body") if "requestBody" in operation else ("", "undefined")
    return (
        f"  {name}(parameters, {body}options = {{}}) {{\n"
        f"    return this.#transport.call({json.dumps(call)}, parameters, {given}, options);\n  }}\n"
    )


def _method_type(_: str, __: str, operation: Mapping[str, Any]) -> str:
    parameters = [*_parameters(operation, "path"), *_parameters(operation, "query")]
    fields = "; ".join(
        f"{parameter['name']}{'' if parameter['required'] else '?'}: {_type(parameter['schema'])}"
        for parameter in parameters
    )
    arguments = [f"parameters: {{ {fields} }}"]
    if "requestBody" in operation:
        optional = "" if operation["requestBody"]["required"] else "?"
        arguments.append(
            f"body{optional}: {_type(operation['requestBody']['content']['application/json']['schema'])}"
        )
    given = ", ".join(arguments)
    result = f"Answer<{_type(_answer_schema(operation) or {})}>"
    name = f"{_comment({'description': operation['summary']}, '  ')}  {operation['operationId']}"
    if not any(parameter["name"] == "If-None-Match" for parameter in operation["parameters"]):
        return f"{name}({given}, options?: CallOptions): Promise<{result}>;\n"
    return (
        f"{name}({given}, options?: CallOptions & {{ ifNoneMatch?: undefined }}): Promise<{result}>;\n"
        f"  {operation['operationId']}({given}, options: ConditionalOptions): Promise<{result} | Unchanged>;\n"
    )


def _parameters(operation: Mapping[str, Any], place: str) -> list[Mapping[str, Any]]:
    return [parameter for parameter in operation["parameters"] if parameter["in"] == place]


def _type_name(name: str) -> str:
    # `Error` and `Window` are types of every TypeScript program already.
    return f"{name}_" if name in ("Error", "Window") else name


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return _type_name(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " | ".join(_type(one) for one in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema["enum"])
    kinds = schema.get("type", "unknown")
    return " | ".join(_plain(kind, schema) for kind in ([kinds] if isinstance(kinds, str) else kinds))


def _plain(kind: str, schema: Mapping[str, Any]) -> str:
    if kind == "array":
        return f"Array<{_type(schema.get('items', {}))}>"
    if kind == "object":
        return _object(schema)
    return {"integer": "number"}.get(kind, kind)


def _object(schema: Mapping[str, Any]) -> str:
    properties = schema.get("properties", {})
    if not properties:
        return (
            "Record<string, unknown>" if schema.get("additionalProperties", True) else "Record<string, never>"
        )
    required = set(schema.get("required", ()))
    lines = [
        f"{_comment(value, '  ')}  {_key(name)}{'' if name in required else '?'}: {_type(value)};"
        for name, value in properties.items()
    ]
    return "{\n" + "\n".join(lines) + "\n}"


def _key(name: str) -> str:
    return name if _NAME.fullmatch(name) else json.dumps(name)


def _comment(schema: Mapping[str, Any], indent: str) -> str:
    text = schema.get("description", "").replace("*/", "* /").replace("\n", " ")
    return f"{indent}/** {text} */\n" if text else ""
