"""Sessions: many calls at once over one stream. The rules stand in protos/parade/v1/session.proto; the opener is who makes calls, the acceptor answers."""
