"""What the user sees: frame, tables, figures, page."""
