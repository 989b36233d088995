"""An installed package that adds a balancer and an interceptor to the dispatcher. It stands on what the dispatcher hands it alone."""
