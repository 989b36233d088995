"""The gateway: REST and Server-Sent Events in front of the mesh, made from the contracts. It decides nothing; it translates and lets in."""
