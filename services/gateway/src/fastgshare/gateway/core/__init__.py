"""Pure decisions: plain data in, decisions out; no I/O, no clock, no randomness that is not passed in."""
