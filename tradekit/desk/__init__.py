"""The folders a user edits: find them, load strategies from them, read their specs, write new ones."""
