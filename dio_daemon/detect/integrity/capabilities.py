"""The capabilities of files, as the kernel keeps them in an extended attribute."""

from __future__ import annotations

import struct


def capabilities_of(raw: bytes) -> str | None:
    """A file's permitted capabilities, as numbers in hexadecimal (capabilities(7), `vfs_cap_data`)."""
    if len(raw) < 20:
        return None
    _, low, _, high, _ = struct.unpack_from("<5I", raw)
    mask = low | high << 32
    if not mask:
        return None
    names = [_NAMES.get(bit, f"cap_{bit}") for bit in range(64) if mask >> bit & 1]
    return ",".join(names)


_NAMES = {
    0: "cap_chown",
    1: "cap_dac_override",
    2: "cap_dac_read_search",
    6: "cap_setgid",
    7: "cap_setuid",
    8: "cap_setpcap",
    10: "cap_net_bind_service",
    12: "cap_net_admin",
    13: "cap_net_raw",
    16: "cap_sys_module",
    19: "cap_sys_ptrace",
    21: "cap_sys_admin",
    31: "cap_setfcap",
}
