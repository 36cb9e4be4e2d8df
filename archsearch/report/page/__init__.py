"""The page of studies: one HTML file, or served while they run."""
