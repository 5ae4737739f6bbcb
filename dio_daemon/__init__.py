"""The DIO agent: watches one host and reports to a nerve center."""

__version__ = "0.1.0"
