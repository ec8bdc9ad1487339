"""`python -m fastgshare.shared.provision`: makes what JetStream keeps, in as many copies as wished at least, and ends.

For platforms whose services may not make streams, and whose bus is a cluster: there it waits until enough of the
servers have found each other.
"""

import logging
import os

import anyio
import msgspec

from fastgshare.shared.buckets import BUS_FAULTS
from fastgshare.shared.bus import BusConfig, open_bus
from fastgshare.shared.config import load_config
from fastgshare.shared.errors import FastGShareError
from fastgshare.shared.service import run_service
from fastgshare.shared.storage import provide_storage

SERVICE = "provision"
RETRY_S = 0.5

logger = logging.getLogger(__name__)


class ProvisionConfig(msgspec.Struct, frozen=True):
    """Settings: `storage_replicas` servers keep each stream; it must stand within `patience_s`."""

    nats_url: str = "nats://127.0.0.1:4222"
    nats_password_file: str = ""
    storage_replicas: int = 1
    patience_s: float = 60.0
    log_level: str = "INFO"


class NotProvided(FastGShareError):
    """JetStream did not make what it should keep: fields `replicas`, `reason`."""


async def provision(config: ProvisionConfig) -> None:
    """Provide what JetStream keeps. Raises BusUnavailable, NotProvided."""
    access = BusConfig(config.nats_url, SERVICE, config.patience_s, config.nats_password_file)
    deadline_s = anyio.current_time() + config.patience_s
    async with open_bus(access) as bus:
        while True:
            try:
                await provide_storage(bus, config.storage_replicas)
                break
            except BUS_FAULTS as error:
                reason = str(error) or type(error).__name__
                if anyio.current_time() > deadline_s:
                    raise NotProvided(replicas=config.storage_replicas, reason=reason) from error
                logger.info("not yet: %s", reason)
            await anyio.sleep(RETRY_S)
    logger.info("everything stands, in %d copies or more", config.storage_replicas)


if __name__ == "__main__":
    config = load_config(ProvisionConfig, os.environ)
    run_service(SERVICE, lambda: provision(config), config.log_level)
