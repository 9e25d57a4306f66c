"""What a user runs from end to end, each on one runner."""
