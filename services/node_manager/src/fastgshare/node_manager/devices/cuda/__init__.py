"""The `cuda` device: replicas share a GPU's SMs through green contexts and its time through tokens, in one process."""
