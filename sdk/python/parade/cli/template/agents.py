"""An agent that greets. Serve it with `parade agent serve agents:greeter`."""

import parade

greeter = parade.Agent("greeter")


@greeter.function(effect="pure")
async def greet(name: str, context: parade.Context) -> str:
    """Returns a greeting for somebody."""
    context.log.info("greeting", name=name)
    return f"Hello, {name}!"


@greeter.function(effect="pure")
def join(lines: list[str]) -> str:
    """Puts lines together."""
    return "\n".join(lines)


if __name__ == "__main__":
    greeter.serve()
