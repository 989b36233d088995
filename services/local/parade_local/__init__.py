"""The whole mesh on one machine: `parade dev`."""
