"""How Alembic runs here: on the connection, and inside the transaction, that `store.migrate` passes in."""

from alembic import context

from nerve_center.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
context.run_migrations()
