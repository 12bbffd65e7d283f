"""Tables of users: files of several formats, on several file systems, joined by key."""
