"""From tables of judged answers to figures: pure, no engine, no torch."""
