"""What runs inside a handler's process: a user's class, called for one request at a time.

A plain synchronous process without an event loop, confined in memory, processors and threads. Whatever the user's
code does here, the worker at the other end of the channel is not touched.
"""
