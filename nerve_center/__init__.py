"""The DIO nerve center: keeps what agents report and shows it to people."""

__version__ = "0.1.0"
