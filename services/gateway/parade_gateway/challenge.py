"""The answer to who shows nothing, or what is not believed: 401, and how it is done right.

Source: https://www.rfc-editor.org/rfc/rfc6750#section-3.
"""

from parade.wire.errors import Reason
from parade_gateway.errors import HttpError


def challenged(message: str, error: str = "") -> HttpError:
    """Makes the error.

    Args:
        message: What is wrong and what to do.
        error: The code that RFC 6750 has for it; none where nothing was shown.
    """
    challenge = 'Bearer realm="parade"' + (f', error="{error}"' if error else "")
    return HttpError(401, Reason.UNAUTHENTICATED, message, {"www-authenticate": challenge})
