"""The `mps` device: a process per replica under NVIDIA's Multi-Process Service, with a share of the device's threads.

For models whose kernels are not trusted or that cannot be captured, and as the paper's own baseline. The other end of
each process is `fastgshare.node_manager.replica_host`, which is started by name and never imported here.
"""
