"""The scheduler's senses and hands: what arrives on the bus, the lease, what is written."""
