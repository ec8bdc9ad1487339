"""What maintainers run: setting up, and writing generated files."""
