"""What is chosen on fitting and validation prompts."""
