"""Groups of commands of nervectl, one module each."""
