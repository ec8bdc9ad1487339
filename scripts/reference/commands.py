"""The page of the command line, from its own definitions: what `--help` says, in one place."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from fastgshare.cli.app import app
from scripts.reference.markdown import code, flat, table


def page() -> str:
    """Every command with its arguments and options."""
    root: Any = typer.main.get_command(app)
    return "\n".join(
        [
            "# The command",
            "",
            root.help,
            "",
            (
                "Answers go to standard output, everything else to standard error. Exit status 0: done; 1: the "
                "platform refused or could not; 2: what was asked for makes no sense; 130: interrupted."
            ),
            "",
            (
                "Commands that need a platform find it by `--url`, else by `FASTGSHARE_NATS_URL`, else the one that "
                "`fastgshare up` runs here, else at `nats://127.0.0.1:4222`."
            ),
            "",
            *_commands(root, "fastgshare", 2),
        ]
    )


def _commands(group: Any, path: str, level: int) -> Iterator[str]:
    context = group.make_context(path, [], resilient_parsing=True)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        whole = f"{path} {name}"
        yield f"{'#' * level} {whole}\n"
        yield f"{_help(command)}\n"
        if hasattr(command, "list_commands"):
            yield from _commands(command, whole, level + 1)
        else:
            yield f"```\n{_usage(command, whole)}\n```\n"
            yield from _parameters(command)


def _help(command: Any) -> str:
    paragraphs = (command.help or "").replace("\b", "").split("\n\n")
    return "\n\n".join(flat(paragraph) for paragraph in paragraphs)


def _usage(command: Any, path: str) -> str:
    words = [path]
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            name = parameter.name.upper() + ("..." if parameter.nargs == -1 else "")
            words.append(name if parameter.required else f"[{name}]")
    return " ".join([*words, "[OPTIONS]"])


def _parameters(command: Any) -> Iterator[str]:
    rows = [_parameter(parameter) for parameter in command.params if parameter.name != "help"]
    if rows:
        yield table(("", "default", ""), rows)


def _parameter(parameter: Any) -> tuple[str, str, str]:
    told = flat(getattr(parameter, "help", "") or "")
    if parameter.param_type_name == "argument":
        return code(parameter.name.upper()), "" if not parameter.required else "required", told
    names = ", ".join(code(name) for name in [*parameter.opts, *parameter.secondary_opts])
    value = "" if parameter.is_flag else f" {_kind(parameter)}"
    return names + value, code(_default(parameter)), told


def _kind(parameter: Any) -> str:
    annotation = parameter.type_descriptor.annotation
    return {int: "N", float: "NUMBER", list: "TEXT"}.get(annotation, "PATH" if annotation is Path else "TEXT")


def _default(parameter: Any) -> str:
    default = parameter.default
    if default is None or default is False or callable(default) or default in ((), []):
        return ""
    if default is True:
        return str(parameter.opts[0])
    return str(default)
