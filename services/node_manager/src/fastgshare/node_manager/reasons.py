"""An exception from user code in one line that names the user's own line: `ValueError: no face (handler.py:12)`."""

import traceback
from pathlib import Path

MAX_REASON_CHARS = 600


def reason_of(error: BaseException, directory: Path) -> str:
    """Type, text and the innermost line within the bundle."""
    text = " ".join(str(error).split())
    words = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return f"{words[:MAX_REASON_CHARS]}{_place(error, directory)}"


def _place(error: BaseException, directory: Path) -> str:
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.is_relative_to(directory):
            return f" ({path.relative_to(directory)}:{frame.lineno})"
    return ""
