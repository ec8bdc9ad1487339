"""The typed asynchronous Python client."""
