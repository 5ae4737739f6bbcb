"""The tables of people, and `metadata`, which those of `tables` belong to as well.

    users       people who may log in, with a hash of the password and a role
    web_sessions    browsers that are logged in; only a hash of the cookie's token
    login_links     links that log in once
    login_attempts  attempts to log in of the last minutes, counted for an address, an account, and both
    audit       who changed what, when

Times are microseconds since 1970.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Integer, LargeBinary, MetaData, String, Table, Text

metadata = MetaData()

users = Table(
    "users",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("password_hash", Text, nullable=False),
    Column("role", String(16), nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("disabled_us", BigInteger),
)

web_sessions = Table(
    "web_sessions",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("token_hash", LargeBinary(32), nullable=False, unique=True),
    Column("user_name", ForeignKey("users.name"), nullable=False, index=True),
    Column("created_us", BigInteger, nullable=False),
    Column("used_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
    Column("address", String(64), nullable=False),
    Column("browser", String(255), nullable=False),
)

login_links = Table(
    "login_links",
    metadata,
    Column("token_hash", LargeBinary(32), primary_key=True),
    Column("user_name", ForeignKey("users.name"), nullable=False, index=True),
    Column("expires_us", BigInteger, nullable=False),
)

login_attempts = Table(
    "login_attempts",
    metadata,
    Column("subject", String(160), primary_key=True),
    Column("count", Integer, nullable=False),
    Column("until_us", BigInteger, nullable=False, index=True),
)

audit = Table(
    "audit",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("time_us", BigInteger, nullable=False, index=True),
    Column("actor", String(96), nullable=False),
    Column("action", String(64), nullable=False),
    Column("target", String(255), nullable=False),
    Column("detail", Text, nullable=False),
)
