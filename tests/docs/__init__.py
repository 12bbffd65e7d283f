"""What the documents say: links, commands, files and tests that they name."""
