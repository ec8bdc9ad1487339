"""Renders the chart with Helm's own engine: the `helm` on PATH, or the library that `make chart` installs."""

import importlib.util
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).resolve().parents[2] / "charts" / "fastgshare"
RELEASE, NAMESPACE = "demo", "ml"
TIMEOUT_S = 60.0
HELM = shutil.which("helm")
HAS_LIBRARY = importlib.util.find_spec("helm_python") is not None

Document = dict[str, Any]


class ChartRefused(Exception):
    """The chart does not render with these values; the words are the engine's."""


def render(values: Document | None = None) -> list[Document]:
    """Everything that an installation with these values would apply, tests included. Raises ChartRefused."""
    text = _by_command(values or {}) if HELM else _by_library(values or {})
    return [document for document in yaml.safe_load_all(text) if document]


def findings() -> list[str]:
    """What `helm lint --strict` has to say beyond advice."""
    if HELM:
        done = subprocess.run([HELM, "lint", "--strict", str(CHART)], capture_output=True, text=True, timeout=TIMEOUT_S)
        return [] if done.returncode == 0 else [done.stdout + done.stderr]
    import helm_python

    warning = 2
    report = helm_python.lint(CHART, strict=True)
    return [*report["errors"], *(found["error"] for found in report["messages"] if found["severity"] >= warning)]


def named(documents: list[Document], kind: str, ending: str = "") -> Document:
    """The one document of this kind whose name ends so."""
    (found,) = (one for one in documents if one["kind"] == kind and one["metadata"]["name"].endswith(ending))
    return found


def pods(documents: list[Document]) -> Iterator[tuple[Document, Document]]:
    """Every pod template, with the document it stands in."""
    for document in documents:
        if document["kind"] == "Pod":
            yield document, document
        elif "template" in document.get("spec", {}):
            yield document, document["spec"]["template"]


def containers(documents: list[Document]) -> Iterator[tuple[Document, Document, Document]]:
    """Every container, with its document and its pod's spec."""
    for document, pod in pods(documents):
        for container in pod["spec"]["containers"]:
            yield document, pod["spec"], container


def environment(container: Document) -> dict[str, str]:
    """Its variables that have a value of their own."""
    return {variable["name"]: variable["value"] for variable in container.get("env", ()) if "value" in variable}


def _by_command(values: Document) -> str:
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(values, file)
        file.flush()
        words = [str(HELM), "template", RELEASE, str(CHART), "--namespace", NAMESPACE, "--values", file.name]
        done = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT_S)
    if done.returncode:
        raise ChartRefused(done.stderr)
    return done.stdout


def _by_library(values: Document) -> str:
    import helm_python

    try:
        with helm_python.Chart.load(CHART) as chart:
            chart.validate_schema(values)
            files = chart.render(values=values, name=RELEASE, namespace=NAMESPACE)
    except helm_python.HelmError as error:
        raise ChartRefused(str(error)) from error
    return "\n---\n".join(text for name, text in files.items() if name.endswith(".yaml"))
