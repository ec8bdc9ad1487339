"""Examples of the messages in `messages/keys.py`."""

import msgspec

from fastgshare.shared.messages import ApiKey, KeyLimits, KeyUse, Scope
from tests.shared.golden_payloads.names import AT_US, ECHO, GATEWAY, KEY

KEY_LIMITS = KeyLimits(rate_rps=2.5, burst=5, per_day=1_000)

EXAMPLES: dict[str, msgspec.Struct] = {
    "ApiKey.1": ApiKey(
        key=KEY,
        digest="ab" * 32,
        name="team a",
        scopes=(Scope.INVOKE, Scope.READ),
        functions=(ECHO,),
        limits=KEY_LIMITS,
        created_us=AT_US,
        expires_us=AT_US + 1,
    ),
    "KeyLimits.1": KEY_LIMITS,
    "KeyUse.1": KeyUse(key=KEY, gateway=GATEWAY, taken=12, day=19_675, today=3),
}
