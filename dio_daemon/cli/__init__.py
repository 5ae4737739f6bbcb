"""What `dioctl` prints and does; one module a group of commands, imported when it is asked for."""
