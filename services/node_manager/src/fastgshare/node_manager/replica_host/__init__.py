"""A replica's own process under the `mps` device: one model, one batch at a time, for as long as its device wants it.

It holds no bus connection and no credential; it ends with its device's worker, whatever ends that.
"""
