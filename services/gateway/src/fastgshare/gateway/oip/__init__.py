"""Open Inference Protocol v2 as pure codecs: documents in, messages out and back. No I/O, no clock, no numpy.

Whatever a caller got wrong is a `RequestRefused` whose body says what was expected.
"""

from fastgshare.gateway.oip.describe import (
    config_document,
    index_document,
    metadata_document,
    stats_document,
)
from fastgshare.gateway.oip.reply import EncodedReply, encode_error, encode_json_reply, encode_reply
from fastgshare.gateway.oip.request import DecodedRequest, decode_json_request, decode_request

__all__ = [
    "DecodedRequest",
    "EncodedReply",
    "config_document",
    "decode_json_request",
    "decode_request",
    "encode_error",
    "encode_json_reply",
    "encode_reply",
    "index_document",
    "metadata_document",
    "stats_document",
]
