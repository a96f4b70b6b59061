"""Training sets for language models: examples made of bars, with no look into the future."""
