"""Who said why a request was not answered: told by the words, because a refusal does not name who made it. Pure."""

# A caller that was held up itself until the deadline: no gateway can know of it.
NEVER_SENT = "before it could be sent"

# Words of the messages, as they stand in the sources of who says them.
WORDS = {
    "client": (
        "did not answer in time",
        NEVER_SENT,
        "the NATS server cannot be reached",
        "no gateway is listening",
        "cannot send: ",
    ),
    "gateway": (
        "no answer within ",
        "would answer ",
        " ms ago",
        "rows waiting, the limit",
        "the gateway holds requests",
        "requests open, the limit",
        "has no ready replica",
        "is scaled to 0 replicas",
        "times with its replica",
        "the gateway is stopping",
    ),
    "worker": (
        "requests wait on this replica",
        "on arrival at the worker",
        "were left when its turn came",
        "waited for the handler",
        "wait for the handler",
        "the deadline passed before ",
        "s into ",
    ),
}
GAVE_UP = "client (gave up waiting)"
DEMO, UNKNOWN = "demo", "not told"


def said_by(code: str, reason: str) -> str:
    """Client, gateway or worker; the demo itself where no word came."""
    if code == "lost":
        return DEMO
    who = next((who for who, words in WORDS.items() if any(word in reason for word in words)), UNKNOWN)
    return GAVE_UP if who == "client" and code == "deadline_exceeded" else who
