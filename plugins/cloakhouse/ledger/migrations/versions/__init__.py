"""Steps between revisions of the control database, run by Alembic: see `revisions`."""
