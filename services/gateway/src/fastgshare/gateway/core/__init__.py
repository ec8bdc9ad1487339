"""What the gateway decides: admit, route, hold, try again. Plain data in, actions out; no I/O, no clock, no chance."""
