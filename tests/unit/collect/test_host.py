import os

import pytest
from fake_host import FakeHost

from dio_daemon.collect import host
from dio_daemon.collect.rates import percent, rate


def test_rates_are_none_where_nobody_knows() -> None:
    assert rate(30, 10, 4) == 5
    assert rate(10, 30, 4) is None, "a counter that went back"
    assert rate(10, None, 4) is None
    assert rate(None, 10, 4) is None
    assert rate(10, 5, 0) is None
    assert rate(10, 5, None) is None
    assert rate(10, 5, -1) is None
    assert percent(1, 4) == 25
    assert percent(1, 0) is None
    assert percent(None, 4) is None


def test_cpu_shares(fake: FakeHost) -> None:
    cpu = host.Cpu()
    first = cpu.sample()
    assert first is not None
    assert first["percent"] is None
    fake.write("proc/stat", "cpu  1100 100 200 9500 150 20 40 40 50 0\n")  # 100 100 100 500 100 20 30 40
    group = cpu.sample()
    assert group is not None
    total = 100 + 100 + 100 + 500 + 100 + 20 + 30 + 40
    assert group["user_percent"] == percent(200, total)
    assert group["system_percent"] == percent(150, total)
    assert group["iowait_percent"] == percent(100, total)
    assert group["steal_percent"] == percent(40, total)
    assert group["percent"] == percent(total - 600, total)
    assert group["count"] >= 1


def test_cpu_counters_that_go_back(fake: FakeHost) -> None:
    cpu = host.Cpu()
    cpu.sample()
    fake.cpu(user=10, idle=90)
    reset = cpu.sample()
    assert reset is not None
    assert reset["percent"] is None
    assert reset["user_percent"] is None
    fake.cpu(user=60, idle=140)
    after = cpu.sample()
    assert after is not None
    assert after["percent"] == 50
    fake.write("proc/stat", "cpu  110 0 100 190 49 0 10 0 0 0\n")  # iowait runs back by itself now and then
    small = cpu.sample()
    assert small is not None
    assert (small["percent"], small["iowait_percent"]) == (50, 0)


def test_memory_as_free_counts_it(fake: FakeHost) -> None:
    group = host.memory(fake.roots, host.read_meminfo(fake.roots))
    assert group == {
        "total_bytes": 1000 * 1024,
        "available_bytes": 600 * 1024,
        "used_bytes": 400 * 1024,
        "cached_bytes": 260 * 1024,
        "percent": 40,
    }


def test_the_arc_of_zfs_is_not_used_memory(fake: FakeHost) -> None:
    fake.write("proc/spl/kstat/zfs/arcstats", f"13 1 0x01 1\nname type data\nhits 4 9\nsize 4 {100 * 1024}\n")
    group = host.memory(fake.roots, host.read_meminfo(fake.roots))
    assert group is not None
    assert group["used_bytes"] == 300 * 1024
    fake.write("proc/spl/kstat/zfs/arcstats", "nothing of use\n")
    group = host.memory(fake.roots, host.read_meminfo(fake.roots))
    assert group is not None
    assert group["used_bytes"] == 400 * 1024


def test_figures_that_the_kernel_does_not_give_are_none(fake: FakeHost) -> None:
    fake.meminfo(MemTotal=1000)
    meminfo = host.read_meminfo(fake.roots)
    group = host.memory(fake.roots, meminfo)
    assert group is not None
    assert (group["total_bytes"], group["used_bytes"], group["cached_bytes"]) == (1000 * 1024, None, None)
    assert host.swap(meminfo) == {"total_bytes": None, "used_bytes": None, "percent": None}


def test_swap(fake: FakeHost) -> None:
    assert host.swap(host.read_meminfo(fake.roots)) == {"total_bytes": 0, "used_bytes": 0, "percent": None}
    assert host.swap({"SwapTotal": 400, "SwapFree": 100}) == {
        "total_bytes": 400,
        "used_bytes": 300,
        "percent": 75,
    }


def test_load_and_uptime(fake: FakeHost) -> None:
    load = host.load(fake.roots)
    assert load is not None
    assert load.pop("load_5m_per_cpu") == round(0.4 / (os.cpu_count() or 1), 2)
    assert load == {"load_1m": 0.5, "load_5m": 0.4, "load_15m": 0.3}
    assert host.uptime_s(fake.roots) == 1000.5
    for text in ("", "nan nan nan", "x y z"):
        fake.write("proc/loadavg", text)
        fake.write("proc/uptime", text)
        with pytest.raises(ValueError):
            host.load(fake.roots)
        with pytest.raises(ValueError):
            host.uptime_s(fake.roots)


def test_pressure(fake: FakeHost) -> None:
    assert host.pressure(fake.roots) is None, "a kernel without PSI"
    fake.write("proc/pressure/cpu", "some avg10=1.50 avg60=0 avg300=0 total=1\nfull avg10=0.00 total=0\n")
    fake.write(
        "proc/pressure/io", "some avg10=2.00 avg60=0 avg300=0 total=1\nfull avg10=0.25 avg60=0 total=0\n"
    )
    assert host.pressure(fake.roots) == {
        "cpu_some_percent": 1.5,
        "io_some_percent": 2.0,
        "io_full_percent": 0.25,
    }
    fake.write("proc/pressure/memory", "some total=1\n")
    group = host.pressure(fake.roots)
    assert group is not None
    assert group["memory_some_percent"] is None
