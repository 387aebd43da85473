"""Pages that show a study's images."""
