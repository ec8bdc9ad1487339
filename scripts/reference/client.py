"""The page of the Python client, from its signatures and docstrings."""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any

import msgspec

import fastgshare.client as package
from scripts.reference.markdown import prose

FIRST = ("connect", "Client", "Result")
MAX_WIDTH = 100
USE = """\
```python
import asyncio
from fastgshare.client import RequestRefused, connect


async def main() -> None:
    async with connect() as client:
        await client.deploy("function.yaml")
        try:
            result = await client.invoke("filetype", {"file": b"#!/bin/sh\\n"}, timeout_s=2)
        except RequestRefused as refusal:
            print(refusal.body.code, refusal.body.message, refusal.body.retry_after_ms)
        else:
            print(result.outputs["label"], result.replica, result.timing)


asyncio.run(main())
```
"""


def page() -> str:
    """Everything that `fastgshare.client` exports."""
    names = [*FIRST, *(name for name in package.__all__ if name not in FIRST)]
    parts = [
        "# The Python client",
        "",
        "Typed, asynchronous; `pip install ./shared ./cli`, `import fastgshare.client`.",
    ]
    parts += ["", USE]
    for name in names:
        parts += _thing(name, getattr(package, name))
    return "\n".join(parts)


def _thing(name: str, thing: Any) -> Iterator[str]:
    yield f"## {name}\n"
    if inspect.isclass(thing) and issubclass(thing, msgspec.Struct):
        yield f"```python\n{_fields(thing)}\n```\n"
    elif not inspect.isclass(thing):
        yield f"```python\n{_signature(thing)}\n```\n"
    yield f"{prose(thing)}\n"
    if name == "Client":
        yield from _methods(thing)


def _methods(thing: type) -> Iterator[str]:
    for name, member in vars(thing).items():
        if inspect.isfunction(member) and not name.startswith("_"):
            yield f"### {name}\n"
            yield f"```python\n{_signature(member)}\n```\n"
            yield f"{prose(member)}\n"


def _fields(struct: type[msgspec.Struct]) -> str:
    """The fields as the source has them."""
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(struct))).body
    assert isinstance(node, ast.ClassDef)
    lines = [ast.unparse(field) for field in node.body if isinstance(field, ast.AnnAssign)]
    return "\n".join([f"class {node.name}:", *(f"    {line}" for line in lines)])


def _signature(function: Any) -> str:
    """The signature as the source has it, constants by their values; a context manager as it is entered."""
    plain = inspect.unwrap(function)
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(plain))).body
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    named = _Constants(plain.__globals__)
    node.args.defaults = [named.visit(default) for default in node.args.defaults]
    node.args.kw_defaults = [None if default is None else named.visit(default) for default in node.args.kw_defaults]
    node.args.args = [argument for argument in node.args.args if argument.arg != "self"]
    if plain is not function:
        return _wrapped(f"async with {node.name}(", node.args, ") as client: ...")
    manner = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    given = "None" if node.returns is None else ast.unparse(node.returns)
    return _wrapped(f"{manner} {node.name}(", node.args, f") -> {given}")


def _wrapped(head: str, arguments: ast.arguments, tail: str) -> str:
    parts = list(_parts(ast.unparse(arguments)))
    if len(line := head + ", ".join(parts) + tail) <= MAX_WIDTH:
        return line
    return head + "\n" + "".join(f"    {part},\n" for part in parts) + tail


def _parts(inside: str) -> Iterator[str]:
    """Arguments, one by one: split at commas outside brackets."""
    depth, start = 0, 0
    for index, letter in enumerate(inside):
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            yield _spaced(inside[start:index])
            start = index + 1
    yield _spaced(inside[start:])


def _spaced(argument: str) -> str:
    """With room around the sign of a default, as it is written beside an annotation."""
    return argument.strip() if ":" not in argument else re.sub(r"=", " = ", argument.strip(), count=1)


class _Constants(ast.NodeTransformer):
    """Names of plain constants, by their values."""

    def __init__(self, names: dict[str, Any]) -> None:
        self._names = names

    def visit_Name(self, node: ast.Name) -> ast.expr:  # ast's name for it
        value = self._names.get(node.id)
        return ast.Constant(value) if isinstance(value, int | float | str) else node
