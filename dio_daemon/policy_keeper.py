"""Keeps the policy in force: takes what the nerve center tells, on disk and over restarts, or says why it cannot.

The link asks `wants` with the version that each acknowledgement names, and brings the document. A document is checked
whole, its rules together with those of this host, before anything of it is used; one that does not fit leaves the
policy in force as it is, is shown as a condition, and is told to the nerve center with every report. What is in force
is in `policy.json` in the state folder, exactly as it came.

What does not need the nerve center to be there holds while it is away: rules, interval, and what is normal.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dio_daemon.board import Board
from dio_daemon.config import Config
from dio_daemon.detect.rule_files import RuleText, rules_of
from dio_daemon.detect.rules import Rule
from dio_daemon.detect.tolerance import Normal
from dio_daemon.errors import ConfigError, PolicyUnusable
from dio_daemon.files import replace_file
from dio_daemon.messages import Kind, about
from dio_daemon.policy import MOST_BYTES, Policy, parse
from dio_daemon.text import safe

log = logging.getLogger(__name__)

NOT_TAKEN = "this host takes no policy (policy.accept = false in its configuration)"
_MOST_WHY = 500


class PolicyKeeper:
    """The policy of this agent. May be used from any thread.

    Args:
        path: `policy.json` in the state folder.
        accept: whether this host takes a policy at all.
        local: this host's rules, the shipped ones first.
        board: where it is shown what cannot be used.
        changed: called when another policy is in force; must not block.
    """

    def __init__(
        self,
        path: Path,
        accept: bool,
        local: Sequence[RuleText],
        board: Board,
        changed: Callable[[], None],
    ) -> None:
        self._path = path
        self._accept = accept
        self._local = list(local)
        self._board = board
        self._changed = changed
        self._lock = threading.RLock()
        self._policy: Policy | None = None
        self._refused: tuple[str, str] | None = None
        self._unsaved = ""
        self._rules: list[Rule] = rules_of(self._local)
        self._read()

    @property
    def policy(self) -> Policy | None:
        """The one in force."""
        return self._policy

    @property
    def rules(self) -> list[Rule]:
        """The rules in force: this host's, and those of the policy on top."""
        return self._rules

    @property
    def normal(self) -> Normal:
        """Which findings are normal, and until when."""
        policy = self._policy
        return {} if policy is None else {each.fingerprint: each.until for each in policy.tolerated}

    @property
    def refused(self) -> tuple[str, str] | None:
        """Version and reason of a policy that holds for this host and cannot be used here."""
        return self._refused

    def applied_to(self, config: Config) -> Config:
        """A configuration with what the policy sets in it."""
        policy = self._policy
        if policy is None or policy.interval_s is None:
            return config
        sources = {**config.sources, "agent.interval_s": (policy.name, None)}
        return replace(config, agent=replace(config.agent, interval_s=policy.interval_s), sources=sources)

    def said(self) -> dict[str, Any]:
        """What reports say of it (`PolicyInForce` of the contract)."""
        with self._lock:
            version = None if self._policy is None else self._policy.version
            if self._refused is None:
                return {"version": version}
            return {"version": version, "refused": {"version": self._refused[0], "why": self._refused[1]}}

    def use(self, accept: bool, local: Sequence[RuleText]) -> None:
        """Other rules of this host's own, or another word on whether it takes a policy.

        Raises ConfigError: the rules are bad by themselves; nothing is changed.
        """
        with self._lock:
            alone = rules_of(local)
            self._accept, self._local, self._rules = accept, list(local), alone
            policy, self._policy, self._refused = self._policy, None, None
            if policy is None:
                pass
            elif not accept:
                self._refused = (policy.version, NOT_TAKEN)
            else:
                self._try(policy)
            self._show()

    def wants(self, announced: str | None) -> bool:
        """Whether the policy of this version is to be fetched; None says that nothing is set for this agent."""
        with self._lock:
            if announced is None:
                self._drop()
                return False
            if not self._accept:
                self._refuse(announced, NOT_TAKEN)
                return False
            if self._policy is not None and announced == self._policy.version:
                self._forgive()
                return False
            return self._refused is None or announced != self._refused[0]

    def take(self, raw: bytes, announced: str) -> None:
        """Take a document that was fetched because this version was announced, or refuse it."""
        with self._lock:
            try:
                policy = parse(raw)
            except PolicyUnusable as error:
                self._refuse(announced, str(error))
                return
            if policy is None:
                self._drop()
                return
            if not self._try(policy):
                self._show()
                return
            self._keep(raw)
            self._forgive()
            log.info(
                "Policy %s is in force: %s", policy.version, _words(policy), extra=about(Kind.POLICY_IN_FORCE)
            )
        self._changed()

    def _try(self, policy: Policy) -> bool:
        """Put a policy in force if its rules fit with this host's; else it is refused."""
        texts = [(f"{policy.name} ({safe(of, 80)})", toml) for of, toml in policy.rules]
        try:
            rules = rules_of([*self._local, *texts])
        except ConfigError as error:
            more = f" and {len(error.findings) - 1} more" if len(error.findings) > 1 else ""
            self._refuse(policy.version, f"{error.findings[0]}{more}")
            return False
        self._policy, self._rules = policy, rules
        return True

    def _refuse(self, version: str, why: str) -> None:
        refused = (version, safe(why, _MOST_WHY))
        if refused == self._refused:
            return
        self._refused = refused
        if why != NOT_TAKEN:
            kept = "none is in force" if self._policy is None else f"{self._policy.version} stays in force"
            log.warning(
                "The nerve center's policy %s cannot be used, %s: %s",
                version,
                kept,
                refused[1],
                extra=about(Kind.POLICY_REFUSED),
            )
        self._show()

    def _forgive(self) -> None:
        self._refused = None
        self._show()

    def _drop(self) -> None:
        """Nothing is set for this agent any more."""
        self._forgive()
        if self._policy is None:
            return
        log.info(
            "No policy is in force any more: this host is watched as its own files say",
            extra=about(Kind.POLICY_IN_FORCE),
        )
        self._policy, self._rules = None, rules_of(self._local)
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            self._unsaved = f"Cannot remove {self._path}: {error.strerror}"
        self._show()
        self._changed()

    def _keep(self, raw: bytes) -> None:
        try:
            replace_file(self._path, raw, 0o600)
        except OSError as error:
            self._unsaved = f"Cannot write {self._path}: {error.strerror}"
        else:
            self._unsaved = ""

    def _read(self) -> None:
        try:
            with self._path.open("rb") as stream:
                policy = parse(stream.read(MOST_BYTES + 1))
        except FileNotFoundError:
            return
        except (OSError, PolicyUnusable) as error:
            log.warning(
                "Cannot use %s (%s): no policy is in force until the nerve center tells it again",
                self._path,
                error,
                extra=about(Kind.POLICY_REFUSED),
            )
            return
        if policy is not None and not self._accept:
            self._refused = (policy.version, NOT_TAKEN)
        elif policy is not None:
            self._try(policy)
        self._show()

    def _show(self) -> None:
        found = {}
        if self._refused is not None and self._refused[1] != NOT_TAKEN:
            version, why = self._refused
            found["policy_refused"] = f"The nerve center's policy {version} cannot be used: {why}"
        if self._unsaved:
            found["policy_not_saved"] = f"{self._unsaved}. The policy is kept in memory until the next start."
        self._board.set_conditions("policy", found)


def _words(policy: Policy) -> str:
    parts = [] if policy.interval_s is None else [f"a sample every {policy.interval_s:g} s"]
    if policy.rules:
        parts.append("rules of " + ", ".join(safe(of, 80) for of, _ in policy.rules[:10]))
    if policy.tolerated:
        parts.append(f"{len(policy.tolerated)} findings that are normal")
    return ", ".join(parts) or "it sets nothing"
