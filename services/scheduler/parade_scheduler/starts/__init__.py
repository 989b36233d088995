"""How runs begin, by whomever."""
