"""Sessions: many calls at once over one stream. The opener makes them, the acceptor answers. The rules: protos/parade/v1/session.proto."""
