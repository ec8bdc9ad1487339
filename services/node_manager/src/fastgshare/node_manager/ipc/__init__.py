"""How the processes of one node talk: frames over a socket pair that a child inherits.

Nothing in here knows what is said. `frames` cuts the stream, `channel` is an event loop's end and
`blocking` a plain process's, `child` starts the process at the other end, `blocking_child` does it for plain
threads. Import the modules: a plain process needs no event loop.
"""
