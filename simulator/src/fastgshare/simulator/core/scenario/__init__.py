"""A scenario: what people write down to have simulated, checked as a whole, and made into runs. Pure."""
