"""How commands reach the bus."""
