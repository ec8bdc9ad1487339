"""Writes the payloads that are not there yet."""

from fastgshare.shared.codec import encode
from tests.shared.golden_payloads import EXAMPLES, path_of


def write_missing() -> list[str]:
    """Write the payloads that are not there yet; their names."""
    missing = [name for name in EXAMPLES if not path_of(name).exists()]
    for name in missing:
        with path_of(name).open("xb") as file:
            file.write(encode(EXAMPLES[name]))
    return missing


if __name__ == "__main__":
    print("written:", *(write_missing() or ["nothing, every example has its payload"]))
