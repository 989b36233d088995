"""The numbers of a session that both sides agree on, and those that each side chooses for itself."""

from parade.v1 import value_pb2

MAX_ENTRIES = 64
"""Calls, results and events of each kind in one frame."""
FULL_FRAME = 32
"""Entries of each kind that we put into one frame. With 64 calls in flight two frames are then on their way, and while one process works
on the first another works on the second; frames of 64 cost less together, and let all processes but one wait."""
LEFT_OVER = 16
"""Entries that a full frame takes along where no others are left. By themselves they would cost as much as a full frame, and again at every
hop and with every step of a workflow, for what travels apart once arrives and goes on apart."""
MAX_FRAME_BYTES = 256 * 1024
"""What a frame holds at most, unless one entry alone is larger."""
MAX_ENTRY_BYTES = 7 * 1024 * 1024
"""The largest call, result or event: it must fit into one message of gRPC with room to spare."""
MAX_CONTROLS = 1024
"""Cancels and credits of each kind that we put into one frame."""
MAX_ACKNOWLEDGED = 16_384
"""Acknowledgements that we put into one frame."""
MAX_TIMEOUT = 1e9
"""The longest timeout of a call, in seconds; a longer one is a mistake."""

MAX_WAITING = 65_536
"""Calls that may wait in a link for room in its session."""
MAX_CALLS = 1024
"""Calls of one session that an acceptor takes at once where it is not told otherwise."""
MAX_ARGUMENT_BYTES = 64 * 1024 * 1024
"""Arguments of running calls beyond which an acceptor stops reading the session."""
SMALL_FRAME_BYTES = 16 * 1024
"""Arguments that came in a frame no larger than this are not counted: there is no time to, and they cannot sum up to much."""

GAP = 0.001
"""Seconds between frames under load. A frame costs 150 to 300 µs at each end however little it carries."""
REQUEST_GAP = 0.003
"""Seconds between frames that carry requests of services."""
ACKNOWLEDGE_AFTER = 0.1
"""Seconds after which the arrival of a result is acknowledged where no frame goes out anyway."""
ACKNOWLEDGE_COUNT = 64
"""Results whose arrival is acknowledged at once."""

MENTION_AFTER = 0.1
"""Seconds that something waits at least, and twice that at most, which is told of a call only while it runs."""

OPEN_TIMEOUT = 1.0
"""Seconds that opening a stream may take. A frozen process takes connections and answers none."""
REOPEN_PAUSE = 0.05
"""Seconds between attempts to reopen a stream that broke."""
KEPT = 1.5
"""Seconds that an acceptor keeps a session whose stream broke."""
HELLO_TIMEOUT = 5.0
"""Seconds that an acceptor waits for the hello."""
TICK = 0.5
"""Seconds between two looks at whether the other side is still there."""
PING_TICKS = 2
"""Ticks of silence after which an opener asks whether the acceptor lives."""
BROKEN_TICKS = 6
"""Ticks of silence after which an opener takes the stream for broken. Not seconds: a loop that was held up has heard nobody meanwhile."""
ACCEPTOR_PING_TICKS = 4
"""Ticks of silence after which an acceptor asks whether the opener lives."""
ACCEPTOR_BROKEN_TICKS = 30
"""Ticks of silence after which an acceptor takes the stream for broken. Many: a client's loop may be held up by its user."""
MAX_AGE = 1800.0
"""Seconds after which an acceptor asks for another session, give or take a tenth."""


def room_taken(item: value_pb2.Value) -> int:
    """Returns how many bytes of a call's window an item takes: the size of its message, and one for an empty one."""
    return item.ByteSize() or 1
