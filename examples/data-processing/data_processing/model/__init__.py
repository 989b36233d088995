"""What travels between the agents of this example. Nothing here computes, and nothing here needs a table library."""
