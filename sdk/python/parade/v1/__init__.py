"""The generated contracts of Parade, proto package `parade.v1`."""
