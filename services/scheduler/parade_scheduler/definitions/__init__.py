"""Which workflows there are, and what they name."""
