"""The database: the only SQL of the nerve center.

SQLite in WAL mode through SQLAlchemy Core. Functions here take a connection and neither commit nor roll back;
`writer.Writer` and `engine.reading` decide where a transaction begins and ends.
"""
