"""The control socket: HTTP/1.1 with JSON over a Unix socket, for `dioctl`, `curl` and other programs."""
