"""Real servers that tests start for themselves, on free ports of this host, or are given."""
