"""The page at / of a server."""
