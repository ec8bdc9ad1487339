"""A replica's own process under the `mps` device: one model, one batch at a time, for as long as its device wants it.

It holds no bus connection and no credential; it ends with its device's worker, whatever ends that. It keeps faults and
GPU kernels of one model from the memory of others. It runs as its worker's user, so it is no wall against host code
that means harm.
"""
