"""The HTTP interface: one blueprint a topic, problem documents for everything that goes wrong."""
