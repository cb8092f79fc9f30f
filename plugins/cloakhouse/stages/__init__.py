"""The stages of the path. Each takes a manifest (what to read, by reference) and returns one (what it wrote)."""
