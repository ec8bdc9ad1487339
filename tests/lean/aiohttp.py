"""Stands in the way of aiohttp in processes that tests start: services have no use for it, nor have their images.

nats-py imports it for websockets where it is there, as it is here for other tests, and that is a third of a start.
"""

raise ImportError("not where services run")
