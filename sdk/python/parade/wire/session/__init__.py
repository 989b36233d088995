"""Sessions: many calls at once over one stream. The opener makes calls, the acceptor answers them; protos/parade/v1/session.proto has the rules."""
