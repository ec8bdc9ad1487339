"""Pure: a run described as plain data in, what came of it out; no I/O, no clock, chance only from a seed."""
