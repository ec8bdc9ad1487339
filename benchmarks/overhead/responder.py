"""The bare bus's other side: a process that sends each request back. `python responder.py NATS_URL SUBJECT`."""

import asyncio
import sys

import nats
import uvloop
from nats.aio.msg import Msg


async def main(url: str, subject: str) -> None:
    """Echo until killed."""
    connection = await nats.connect(url)

    async def echo(msg: Msg) -> None:
        await connection.publish(msg.reply, msg.data)

    await connection.subscribe(subject, cb=echo)
    await connection.flush()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2]))
