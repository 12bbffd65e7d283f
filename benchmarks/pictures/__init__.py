"""Pictures of pages, for the documents."""
