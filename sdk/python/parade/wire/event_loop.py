"""The event loop of the processes that carry calls: uvloop where there is one, asyncio's own elsewhere."""

import asyncio


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Returns an event loop for `asyncio.Runner`."""
    try:
        import uvloop  # only who uses it pays for it, and it is not made for every platform
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
