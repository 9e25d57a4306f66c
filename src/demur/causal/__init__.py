"""Effects of features and interventions: controls, and what would prove a cause."""
