"""Two machines, each a network namespace of this host, and the wire between them."""
