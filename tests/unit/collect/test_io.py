"""Disk I/O and the network."""

import pytest
from fake_host import FakeHost

from dio_daemon.collect.disk_io import DiskIo
from dio_daemon.collect.network import MOST_INTERFACES, Network


def test_rates_of_whole_disks(fake: FakeHost) -> None:
    fake.disk("sda", reads=10, sectors_read=100, busy_ms=0)
    fake.disk("loop0", reads=10, sectors_read=100, busy_ms=0)
    fake.disk("dm-0", reads=10, sectors_read=100, busy_ms=0)
    fake.disk("nbd0", reads=0, sectors_read=0, busy_ms=0, size=0)
    fake.write(
        "proc/diskstats", (fake.folder / "proc/diskstats").read_text() + "8 1 sda1 9 0 9 0 0 0 0 0 0 0 0\n"
    )
    io = DiskIo(fake.roots)
    first = io.sample(None)
    assert [device["device"] for device in first] == ["sda"]
    assert first[0]["reads_per_s"] is None
    fake.disk("sda", reads=30, sectors_read=300, busy_ms=500)
    (device,) = io.sample(2.0)
    assert device["reads_per_s"] == 10
    assert device["read_bytes_per_s"] == 100 * 512
    assert device["writes_per_s"] == 0
    assert device["busy_percent"] == 25


def test_a_disk_that_was_taken_out_and_put_back(fake: FakeHost) -> None:
    fake.disk("sdb", reads=1000, sectors_read=1000, busy_ms=9000)
    io = DiskIo(fake.roots)
    io.sample(None)
    fake.disk("sdb", reads=1, sectors_read=2000, busy_ms=1)
    (device,) = io.sample(1.0)
    assert device["reads_per_s"] is None
    assert device["busy_percent"] is None
    assert device["read_bytes_per_s"] == 1000 * 512


def test_a_host_that_has_no_disks_or_does_not_show_them(fake: FakeHost) -> None:
    assert DiskIo(fake.roots).sample(None) == []
    (fake.folder / "sys/block").rmdir()
    fake.write("proc/diskstats", "8 0 xvda 1 0 1 0 0 0 0 0 0 0 0\n")
    assert [device["device"] for device in DiskIo(fake.roots).sample(None)] == ["xvda"]


def test_totals_are_of_physical_uplinks_only(fake: FakeHost) -> None:
    def traffic(received: int) -> None:
        fake.interface("lo", received, received)
        fake.interface("eth0", received, 2 * received, device=True)
        fake.interface("eth1", received, 2 * received, device=True)
        fake.interface("docker0", received, received)

    network = Network(fake.roots)
    traffic(1000)
    first = network.sample(None)
    assert first["rx_bytes_per_s"] is None
    traffic(5000)
    group = network.sample(4.0)
    assert group["rx_bytes_per_s"] == 2000
    assert group["tx_bytes_per_s"] == 4000
    assert [item["name"] for item in group["interfaces"]] == ["eth0", "eth1", "docker0", "lo"]
    assert [item["physical"] for item in group["interfaces"]] == [True, True, False, False]
    assert group["interfaces"][0]["rx_bytes_per_s"] == 1000
    assert group["interfaces"][-1]["up"] is True, "this host's own lo"
    assert group["interfaces"][2]["up"] is None or isinstance(group["interfaces"][2]["up"], bool)


def test_a_physical_member_of_a_physical_master_counts_once(fake: FakeHost) -> None:
    network = Network(fake.roots)
    for received in (0, 1000):
        fake.interface("eth0", received, 0, device=True)
        fake.interface("vf0", received, 0, device=True)
        master = fake.folder / "sys/class/net/vf0/master"
        if not master.is_symlink():
            master.symlink_to("../eth0")
        group = network.sample(1.0 if received else None)
    assert group["rx_bytes_per_s"] == 1000


def test_a_guest_without_physical_interface_counts_its_default_route(fake: FakeHost) -> None:
    fake.write(
        "proc/net/route",
        "Iface\tDestination\tGateway\nhost0\t00000000\t0100000A\t3\t0\t0\t0\t00000000\t0\t0\t0\n",
    )
    network = Network(fake.roots)
    for received in (0, 1000):
        fake.interface("host0", received, 0)
        fake.interface("veth1", received, 0)
        group = network.sample(1.0 if received else None)
    assert group["rx_bytes_per_s"] == 1000


def test_no_network(fake: FakeHost) -> None:
    network = Network(fake.roots)
    network.sample(None)
    assert network.sample(1.0) == {"rx_bytes_per_s": None, "tx_bytes_per_s": None, "interfaces": []}
    fake.interface("lo", 5, 5)
    assert network.sample(1.0)["rx_bytes_per_s"] is None
    fake.remove("proc/net/dev")
    with pytest.raises(OSError):
        network.sample(1.0)


def test_counters_that_go_back_and_interfaces_that_come_and_go(fake: FakeHost) -> None:
    network = Network(fake.roots)
    fake.interface("eth0", 9000, 0, device=True)
    network.sample(None)
    fake.interface("eth0", 10, 500, device=True)
    fake.interface("eth1", 10, 500, device=True)
    group = network.sample(1.0)
    assert (group["rx_bytes_per_s"], group["tx_bytes_per_s"]) == (None, 500)
    assert group["interfaces"][1]["errors_per_s"] is None


def test_thousands_of_interfaces_are_bounded(fake: FakeHost) -> None:
    for number in range(300):
        fake.interface(f"veth{number}", 0, 0)
    fake.interface("wan", 0, 0, device=True)
    interfaces = Network(fake.roots).sample(None)["interfaces"]
    assert len(interfaces) == MOST_INTERFACES
    assert interfaces[0]["name"] == "wan"
