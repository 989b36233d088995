"""Those who wish a mesh harm, or send it what they do not understand themselves."""
