"""A torch model's own code: its zip unpacked beside the cached file, its factory imported under a name of its own.

The files of a model form a package that is named by the digest, so that two models may both have a `model.py`; they
import each other relatively (`from . import layers`). `sys.path` stays as it is.
"""

import importlib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from fastgshare.node_manager.bundle import MAX_UNPACKED_MIB, BundleInvalid, unpack_bundle
from fastgshare.node_manager.devices.faults import ModelFault
from fastgshare.node_manager.devices.ports import StoredModel
from fastgshare.node_manager.reasons import reason_of
from fastgshare.shared.torch_bundle import FACTORY_FILE, WEIGHTS_FILE, is_factory
from fastgshare.shared.units import BYTES_PER_MIB


def unpacked(model: StoredModel) -> Path:
    """The directory with the model's files, unpacked at most once: weights are mapped from there. Raises ModelFault.

    It appears whole: another process that unpacks the same model at once just comes second.
    """
    directory = model.path.with_name(f"{model.path.name}.unpacked")
    if not directory.is_dir():
        try:
            _unpack(model.path, directory)
        except BundleInvalid as error:
            raise ModelFault(reason=f"its bundle {error.fields['reason']}") from error
        except OSError as error:
            raise ModelFault(reason=f"its bundle cannot be unpacked: {error.strerror}") from error
    for name in (FACTORY_FILE, WEIGHTS_FILE):
        if not (directory / name).is_file():
            raise ModelFault(reason=f"its bundle holds no {name}, expected one as `fastgshare deploy` makes it")
    return directory


def import_factory(model: StoredModel, directory: Path) -> Callable[[], Any]:
    """What makes the module. Raises ModelFault for code that does not import and a factory that is none."""
    bundled = (directory / FACTORY_FILE).read_text(encoding="utf-8").strip()
    if model.factory != bundled or not is_factory(bundled):
        raise ModelFault(reason=f"its factory is '{model.factory}', but its bundle was made for '{bundled}'")
    module_name, _, name = bundled.partition(":")
    package = f"fastgshare_model_{model.digest}"
    _open_package(package, directory)
    try:
        module = importlib.import_module(f"{package}.{module_name}")
    except (Exception, SystemExit) as error:
        raise ModelFault(reason=_import_failure(error, module_name, package, directory)) from error
    factory: Callable[[], Any] | None = getattr(module, name, None)
    if factory is None or not callable(factory):
        callables = sorted(key for key, value in vars(module).items() if _is_defined_in(value, module))
        raise ModelFault(reason=f"{module_name}.py has no '{name}' to call; it defines {callables}")
    return factory


def _unpack(bundle: Path, directory: Path) -> None:
    """Into a directory beside, then renamed; weights do not compress, so little more than the file may come of it."""
    limit_mib = bundle.stat().st_size / BYTES_PER_MIB + MAX_UNPACKED_MIB
    with tempfile.TemporaryDirectory(dir=bundle.parent, prefix=".unpacking-", ignore_cleanup_errors=True) as room:
        whole = Path(room) / "model"
        unpack_bundle(bundle, whole, limit_mib)
        try:
            whole.rename(directory)
        except OSError:  # somebody else was first
            if not directory.is_dir():
                raise


def _open_package(name: str, directory: Path) -> None:
    if name not in sys.modules:
        package = ModuleType(name)
        package.__path__ = [str(directory)]
        sys.modules[name] = package


def _import_failure(error: BaseException, module_name: str, package: str, directory: Path) -> str:
    words = reason_of(error, directory).replace(f"{package}.", "")
    if isinstance(error, ModuleNotFoundError) and error.name is not None:
        if error.name == f"{package}.{module_name}":
            files = sorted(file.name for file in directory.iterdir() if file.suffix == ".py")
            return f"its bundle holds no {module_name}.py; it holds {files}"
        if (directory / f"{error.name}.py").is_file():
            words += f"; it lies beside the model: `from . import {error.name}`"
    return f"importing {module_name}.py raised {words}"


def _is_defined_in(value: object, module: ModuleType) -> bool:
    return callable(value) and getattr(value, "__module__", None) == module.__name__
