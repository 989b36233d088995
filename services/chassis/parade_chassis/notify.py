"""Tells whoever started this process that it is ready: systemd, or the supervisor of `parade dev`.

Source of the protocol: sd_notify(3), https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html.
"""

import os
import socket


def notify(message: str) -> None:
    """Sends `message`, for example `READY=1`, to the socket in NOTIFY_SOCKET; does nothing where nobody listens."""
    name = os.environ.get("NOTIFY_SOCKET", "")
    if not name:
        return
    address = "\0" + name[1:] if name.startswith("@") else name
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        try:
            sender.sendto(message.encode(), address)
        except OSError:
            return  # nobody listens any more, which is no reason to fail
