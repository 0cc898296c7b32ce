"""Other projects' weights: their names and layouts."""
