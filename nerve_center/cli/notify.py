"""nervectl notify: is the file of notifications right, and does a route reach anybody?"""

from __future__ import annotations

import secrets

import click

from nerve_center.alerts import routes, sender
from nerve_center.alerts.message import trial
from nerve_center.alerts.routes import Plan, Route
from nerve_center.cli.base import Failed, aligned
from nerve_center.clock import SystemClock
from nerve_center.config import Config
from nerve_center.errors import ConfigError
from nerve_center.store.threats import SEVERITIES


@click.group()
def notify() -> None:
    """Who is notified of what, as notify.toml has it."""


@notify.command("list")
@click.pass_obj
def list_routes(settings: Config) -> None:
    """Check the file and list its routes. Addresses are secrets and are not shown."""
    plan = _plan(settings)
    if not plan.routes:
        click.echo(f"Nobody is notified: {settings.notify.file} has no [[route]].")
        return
    click.echo(
        aligned([("ROUTE", "FROM", "LABELS", "TYPES", "TO"), *(_line(route) for route in plan.routes)])
    )


@notify.command("test")
@click.argument("name", metavar="ROUTE")
@click.pass_obj
def test(settings: Config, name: str) -> None:
    """Send a test message to every address of ROUTE, at once. Exit code 1 when one was not taken."""
    plan = _plan(settings)
    route = next((route for route in plan.routes if route.name == name), None)
    if route is None:
        known = ", ".join(route.name for route in plan.routes) or "none"
        raise Failed(f"there is no route {name!r}", f"routes in {settings.notify.file}: {known}")
    message = trial(route.name, SystemClock().now_us(), plan.center_url)
    failed = 0
    for target in route.targets:
        why = sender.send(target, message, secrets.token_hex(16))
        click.echo(f"{target.shown} {'sent' if why is None else f'failed: {why}'}")
        failed += why is not None
    if failed:
        raise Failed(
            f"{failed} of {len(route.targets)} addresses did not take it",
            f"mend them in {settings.notify.file}",
        )


def _plan(settings: Config) -> Plan:
    try:
        return routes.load(settings.notify.file)
    except ConfigError as exc:
        raise Failed("notifications do not fit:\n" + "\n".join(exc.errors), code=78) from exc


def _line(route: Route) -> tuple[str, ...]:
    labels = ",".join(f"{name}={value}" for name, value in route.labels.items()) or "-"
    types = ",".join(sorted(route.types)) or "all"
    return (
        route.name,
        SEVERITIES[route.rank - 1],
        labels,
        types,
        " ".join(target.shown for target in route.targets),
    )
