"""The page of refusals: each code, its HTTP status, and when a caller meets it."""

from fastgshare.shared.errors import HTTP_STATUS, ErrorCode
from scripts.reference.markdown import code, table

MEANINGS = {
    ErrorCode.INVALID: "The request makes no sense; the message names what was found and what was expected.",
    ErrorCode.UNAUTHORIZED: "No key, or none that is known here.",
    ErrorCode.FORBIDDEN: "The key is known, but does not allow this.",
    ErrorCode.NOT_FOUND: "No function, model or version of this name.",
    ErrorCode.CONFLICT: "Another caller's request goes by this id, or somebody else changed the function meanwhile.",
    ErrorCode.TENSOR_UNREACHABLE: "The tensors lie in another host's shared memory: send them inline.",
    ErrorCode.TOO_LARGE: "More bytes than are taken; the message has the limit.",
    ErrorCode.OVERLOADED: "It would miss its deadline, or a queue or an allowance is full; tells when to try again.",
    ErrorCode.CANCELLED: "Its caller hung up or withdrew it.",
    ErrorCode.HANDLER_FAILED: "The function's own code failed on this input.",
    ErrorCode.MODEL_FAILED: "The model failed on this input.",
    ErrorCode.INTERNAL: "A fault of the platform.",
    ErrorCode.UNAVAILABLE: "No replica and none coming, or too many requests wait for one; tells when to try again.",
    ErrorCode.DEADLINE_EXCEEDED: "The deadline passed before there was an answer.",
}


def page() -> str:
    """A row a code."""
    rows = [
        (code(known.value), str(HTTP_STATUS[known]), MEANINGS[known])
        for known in sorted(ErrorCode, key=HTTP_STATUS.__getitem__)
    ]
    return "\n".join(
        [
            "# Refusals",
            "",
            (
                "Every request is answered or refused by its deadline. A refusal has a code, a sentence and, where it "
                "makes sense, after how many milliseconds to try again. The Python client raises it as "
                "`RequestRefused` (`.body.code`, `.body.message`, `.body.retry_after_ms`); over HTTP it is a status "
                'with `{"error": "<sentence>"}` and, where there is a time, `Retry-After`.'
            ),
            "",
            table(("code", "HTTP status", "when"), rows),
        ]
    )
