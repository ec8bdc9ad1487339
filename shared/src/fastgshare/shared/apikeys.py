"""What an API key's text is made of: `fgs_<id>_<secret>`. No chance in here: whoever makes one brings the random bits.

The digest of the whole text is what is stored and compared.
"""

import re
from hashlib import sha256
from hmac import compare_digest

from fastgshare.shared.ids import KeyId

ID_BYTES = 6
SECRET_BYTES = 24
_TEXT = re.compile(r"fgs_([0-9a-f]{12})_[0-9a-f]{48}")


def key_text(key: KeyId, secret: bytes) -> str:
    """A key as its owner keeps it, from `SECRET_BYTES` random bytes."""
    return f"fgs_{key}_{secret.hex()}"


def key_id_in(text: str) -> KeyId | None:
    """The id in a key's text; None where it is no key."""
    match = _TEXT.fullmatch(text)
    return KeyId(match[1]) if match is not None else None


def key_digest(text: str) -> str:
    """What is stored of a key's text: SHA-256 in hex."""
    return sha256(text.encode()).hexdigest()


def is_key(text: str, digest: str) -> bool:
    """Whether `digest` is that of `text`, in a time that does not tell how much of it is right."""
    return compare_digest(key_digest(text), digest)
