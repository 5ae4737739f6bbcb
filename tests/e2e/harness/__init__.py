"""Hosts for the end-to-end tests: real Debian systems, booted with systemd as PID 1.

`roots` builds the file systems once and keeps them, `network` makes the hosts' own networks, `host` boots one
and talks to it. Nothing here knows DIO but `dio`, which has what several tests ask of it.
"""
