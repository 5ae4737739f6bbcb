"""Text that a host or a person chose, made safe to print."""


def one_line(text: str) -> str:
    """The text with a question mark for each character that does not print: it can neither end a line nor steer a
    terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)
