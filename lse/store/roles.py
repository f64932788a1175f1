"""Two roles beside the owner of the tables: one that loads and reports, one that only reads.

The owner migrates. Neither role may change a table: the months that a load opens are made by a function
that runs as the owner.
"""

from collections.abc import Iterator

from psycopg import sql

from lse.store.connection import STATEMENT_TIMEOUT, connect, deadline, translated
from lse.store.queries import QUERIES

_MAKE = """
begin
    if not exists (select from pg_roles where rolname = {name}) then create role {role} login; end if;
end"""

_BOTH = """
grant connect on database {database} to {role}
grant usage on schema {schema} to {role}
"""
_RUNTIME = """
grant temporary on database {database} to {role}
grant select, insert, update, delete on all tables in schema {schema} to {role}
alter default privileges in schema {schema} grant select, insert, update, delete on tables to {role}
revoke insert, update, delete on {schema}.alembic_version from {role}
grant execute on function {schema}.lse_make_month(date) to {role}
"""
_MAINTENANCE = """
grant maintain on all tables in schema {schema} to {role}
alter default privileges in schema {schema} grant maintain on tables to {role}
"""
"""From Postgres 17 on a role may vacuum what it does not own; before, autovacuum has to do it."""
_READONLY = """
grant select on all tables in schema {schema} to {role}
alter default privileges in schema {schema} grant select on tables to {role}
alter role {role} set default_transaction_read_only = on
"""


def role_statements(url: str, runtime: str, readonly: str) -> list[str]:
    """The statements that make both roles, or bring their rights up to date, one after the other.

    Whoever owns the tables of `lse` runs them, with the right to create roles.
    """
    with translated(), connect(url) as connection, deadline(connection, STATEMENT_TIMEOUT):
        maintenance = _MAINTENANCE if connection.info.server_version >= 170_000 else ""
        [(database, schema)] = connection.execute(QUERIES["place"]).fetchall()
        wanted = ((runtime, _BOTH + _RUNTIME + maintenance), (readonly, _BOTH + _READONLY))
        return [
            statement.as_string(connection)
            for role, rights in wanted
            for statement in (_made(role), *_granted(rights, role, database, schema))
        ]


def apply_roles(url: str, runtime: str, readonly: str) -> None:
    """Run `role_statements`, all or none. Raises `AccessError` when the role at `url` may not."""
    statements = role_statements(url, runtime, readonly)
    with (
        translated(),
        connect(url) as connection,
        deadline(connection, STATEMENT_TIMEOUT),
        connection.transaction(),
    ):
        for statement in statements:
            connection.execute(statement.encode())


def _made(role: str) -> sql.Composed:
    """Postgres has no `create role if not exists`."""
    block = sql.SQL(_MAKE).format(name=sql.Literal(role), role=sql.Identifier(role))
    return sql.SQL("do {}").format(sql.Literal(block.as_string()))


def _granted(rights: str, role: str, database: str, schema: str) -> Iterator[sql.Composed]:
    names = {"role": role, "database": database, "schema": schema}
    quoted = {key: sql.Identifier(name) for key, name in names.items()}
    return (sql.SQL(line).format(**quoted) for line in rights.splitlines() if line)
