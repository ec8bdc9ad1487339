"""The whole platform at one look, folded from what is said on the bus; for consoles, in a page or a terminal. Pure."""
