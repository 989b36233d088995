"""Who exists in the mesh: agents, instances, functions, leases, identity. It never carries a call."""
