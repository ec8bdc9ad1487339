"""The node manager owns a host's devices, enforces the slices and serves batches."""
