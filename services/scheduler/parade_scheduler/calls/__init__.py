"""The attempts under way: who may call when, and what comes back."""
