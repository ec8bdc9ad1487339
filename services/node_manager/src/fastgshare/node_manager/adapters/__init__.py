"""The manager's hands: the worker process, the buckets, the heartbeat."""
