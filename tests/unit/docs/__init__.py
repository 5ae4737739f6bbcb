"""The documentation held to the code: what can be set, asked, answered or go wrong is in it, and true."""
