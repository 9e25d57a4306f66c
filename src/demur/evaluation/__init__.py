"""Arms x sets through the journal, judged; items and pairs scored."""
