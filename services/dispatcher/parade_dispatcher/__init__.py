"""How to call a function now: which instance, until when, and what became of it. It knows no workflows."""
