"""What an agent's process does beside its functions: it joins the mesh, serves calls, says how it is, and leaves in good order."""
