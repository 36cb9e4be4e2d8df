"""Search spaces: a baseline architecture and axes over it, read from YAML."""
