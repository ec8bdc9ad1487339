"""What makes parts of this tree out of other parts; nothing here is installed."""
