"""Real servers, real clients and the mount, for the server tests and the demonstration."""
