"""What every service agrees on: words, units, errors, messages, and the one way onto the bus."""
