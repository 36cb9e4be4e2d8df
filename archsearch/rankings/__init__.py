"""What is known of how proxy recipes rank: a table that ships, and what ``fidelity`` found on this machine."""
