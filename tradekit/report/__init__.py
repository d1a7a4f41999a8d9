"""What a run leaves behind: the run folder, its numbers, tables, figures and page."""
