"""A service that only connects and answers pings: `python fake_service.py SERVICE [BEHAVIOUR]`.

Behaviours: `broken` ends with status 3 and a last word, `deaf` never answers, `stubborn` ignores SIGTERM,
`parent` leaves a process in its group.
"""

import os
import signal
import subprocess
import sys


async def serve(service: str, behaviour: str) -> None:
    """Answer pings as `service` until told to stop."""
    import anyio

    from fastgshare.shared.bus import BusConfig, open_bus
    from fastgshare.shared.service import answer_pings, stop_signal

    config = BusConfig(url=os.environ["FASTGSHARE_NATS_URL"], name=service)
    async with open_bus(config) as bus, anyio.create_task_group() as work:
        if behaviour != "deaf":
            await work.start(answer_pings, bus, service, os.environ["FASTGSHARE_INSTANCE"], {})
        if behaviour == "stubborn":
            await anyio.sleep_forever()
        await stop_signal()
        work.cancel_scope.cancel()


def main(service: str, behaviour: str = "") -> None:
    """Run as one of the behaviours."""
    if behaviour == "broken":
        print("broken stopped: the widget is missing", file=sys.stderr, flush=True)
        sys.exit(3)
    if behaviour == "parent":
        subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    if behaviour == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    from fastgshare.shared.service import run_service  # a broken one need not wait for it

    run_service(service, lambda: serve(service, behaviour))


if __name__ == "__main__":
    main(*sys.argv[1:])
