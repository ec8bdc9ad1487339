"""The gateway's hands: everything that touches the bus on behalf of the core."""
