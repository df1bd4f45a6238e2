"""What a database really holds, and what the tables of this program say it should (R45).

Read from the catalogue with four small queries, a few milliseconds in all, so that every part can
look at its start. What is expected is derived from the tables in code, which a test compares with
what the migrations make: nobody keeps a list of it. An index, a trigger or a table more than
expected harms nobody and is left out of account; a column more does (it may refuse our rows).
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Dialect, Index, Table, UniqueConstraint, text

from gateway.store.booking_tables import holds
from gateway.store.engine import Session
from gateway.store.tables import triggers_of

metadata = holds.metadata

Column = tuple[str, bool]
"""Type in lower case, and whether NULL is refused."""

_PLAIN_TYPES = {"float": "double precision", "varchar": "character varying"}
"""PostgreSQL's own names of types that SQLAlchemy writes otherwise."""


@dataclass(frozen=True)
class Structure:
    """Tables with their columns, and sets of what else rows depend on.

    ``keys`` are (table, unique, partial, columns); ``references`` (table, columns, target table,
    whether the row goes with its target); ``triggers`` are names.
    """

    columns: dict[str, dict[str, Column]]
    keys: frozenset[tuple[str, bool, bool, tuple[str, ...]]]
    references: frozenset[tuple[str, tuple[str, ...], str, bool]]
    triggers: frozenset[str]


@cache
def expected_structure(dialect: Dialect) -> Structure:
    """Return what this version of the program needs on a database of this kind."""
    return Structure(
        {
            name: {
                column.name: (_type_name(column.type.compile(dialect), dialect.name), not_null)
                for column in table.c
                for not_null in (not column.nullable,)
            }
            for name, table in metadata.tables.items()
        },
        frozenset(key for table in metadata.tables.values() for key in _keys(table, dialect.name)),
        frozenset(
            (name, tuple(constraint.column_keys), constraint.referred_table.name, goes_with_it)
            for name, table in metadata.tables.items()
            for constraint in table.foreign_key_constraints
            for goes_with_it in (constraint.ondelete == "CASCADE",)
        ),
        triggers_of(dialect.name),
    )


def _keys(table: Table, dialect: str) -> Iterator[tuple[str, bool, bool, tuple[str, ...]]]:
    yield table.name, True, False, tuple(column.name for column in table.primary_key)
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint):
            yield table.name, True, False, tuple(column.name for column in constraint.columns)
    for index in table.indexes:
        if not _is_computed(index):
            partial = index.dialect_options[dialect]["where"] is not None
            columns = tuple(column.name for column in index.columns)
            yield table.name, bool(index.unique), partial, columns


def _is_computed(index: Index) -> bool:
    """Tell whether an index is over expressions, which each database writes its own way."""
    return len(index.columns) != len(index.expressions)


def _type_name(compiled: str, dialect: str) -> str:
    name = compiled.lower()
    return _PLAIN_TYPES.get(name, name) if dialect == "postgresql" else name


def read_structure(session: Session) -> Structure:
    """Read what the database holds; no right on the tables themselves is needed."""
    if session.dialect.name == "sqlite":
        queries = _SQLITE
    else:
        queries = {what: _POSTGRESQL_TABLES + query for what, query in _POSTGRESQL.items()}
    columns: dict[str, dict[str, Column]] = defaultdict(dict)
    for table, name, kind, not_null in session.execute(text(queries["columns"])):
        columns[table][name] = (kind.lower(), bool(not_null))
    keys = {
        (table, bool(unique), bool(partial), names)
        for (table, _, unique, partial), names in _gathered(session, queries["keys"])
    }
    references = {
        (table, names, target, bool(cascades))
        for (table, _, target, cascades), names in _gathered(session, queries["references"])
    }
    triggers = frozenset(session.execute(text(queries["triggers"])).scalars())
    return Structure(dict(columns), frozenset(keys), frozenset(references), triggers)


def _gathered(session: Session, query: str) -> Iterable[tuple[tuple[Any, ...], tuple[str, ...]]]:
    """Gather the last column of rows that are otherwise the same, in order."""
    found: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for *head, name in session.execute(text(query)):
        found[tuple(head)].append(name or "")
    return ((head, tuple(names)) for head, names in found.items())


def differences(expected: Structure, found: Structure) -> list[str]:
    """Say what of the expected is missing or other, as ends of "the database …"."""
    said: list[str] = []
    missing = expected.columns.keys() - found.columns.keys()
    said += [f"lacks the table {table}" for table in sorted(missing)]
    for table in sorted(expected.columns.keys() - missing):
        said += _column_differences(table, expected.columns[table], found.columns[table])
    if said:  # keys of a column that is not there go without saying
        return said
    for table, unique, _, columns in sorted(expected.keys - found.keys):
        kind = "the unique key" if unique else "the index"
        said.append(f"lacks {kind} of {table} on {', '.join(columns)}")
    for table, columns, target, _ in sorted(expected.references - found.references):
        said.append(f"lacks the reference of {table}.{', '.join(columns)} to {target}")
    said += [f"lacks the trigger {name}" for name in sorted(expected.triggers - found.triggers)]
    return said


def _column_differences(
    table: str, expected: dict[str, Column], found: dict[str, Column]
) -> Iterator[str]:
    for name in sorted(expected.keys() - found.keys()):
        yield f"lacks the column {table}.{name}"
    for name in sorted(found.keys() - expected.keys()):
        yield f"has a column {table}.{name} that no gateway made"
    for name in sorted(expected.keys() & found.keys()):
        if expected[name] != found[name]:
            kinds = f"{_column(found[name])} instead of {_column(expected[name])}"
            yield f"has {table}.{name} as {kinds}"


def _column(column: Column) -> str:
    kind, not_null = column
    return f"{kind}{' not null' if not_null else ''}"


_SQLITE = {
    "columns": """
        SELECT m.name, p.name, p.type, p."notnull" OR p.pk > 0
        FROM sqlite_master m JOIN pragma_table_info(m.name) p
        WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
    """,
    "keys": """
        SELECT m.name, l.name, l."unique", l.partial, i.name
        FROM sqlite_master m JOIN pragma_index_list(m.name) l JOIN pragma_index_info(l.name) i
        WHERE m.type = 'table'
        UNION ALL
        SELECT m.name, '', 1, 0, p.name
        FROM sqlite_master m JOIN pragma_table_info(m.name) p
        WHERE m.type = 'table' AND p.pk > 0 AND NOT EXISTS
            (SELECT 1 FROM pragma_index_list(m.name) WHERE origin = 'pk')
    """,
    "references": """
        SELECT m.name, f.id, f."table", f.on_delete = 'CASCADE', f."from"
        FROM sqlite_master m JOIN pragma_foreign_key_list(m.name) f
        WHERE m.type = 'table' ORDER BY m.name, f.id, f.seq
    """,
    "triggers": "SELECT name FROM sqlite_master WHERE type = 'trigger'",
}

# Tables of extensions are no part of what is compared, nor is what this role does not see by its
# plain name.
_POSTGRESQL_TABLES = """
    WITH t AS (
        SELECT c.oid, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p') AND pg_table_is_visible(c.oid)
            AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
            AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
    )
"""
_POSTGRESQL = {
    "columns": """
        SELECT t.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull
        FROM t JOIN pg_attribute a ON a.attrelid = t.oid
        WHERE a.attnum > 0 AND NOT a.attisdropped
    """,
    "keys": """
        SELECT t.relname, i.indexrelid, i.indisunique, i.indpred IS NOT NULL, a.attname
        FROM t JOIN pg_index i ON i.indrelid = t.oid
            CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k(number, place)
            LEFT JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = nullif(k.number, 0)
        WHERE i.indisvalid AND k.place <= i.indnkeyatts ORDER BY i.indexrelid, k.place
    """,
    "references": """
        SELECT t.relname, r.oid, f.relname, r.confdeltype = 'c', a.attname
        FROM t JOIN pg_constraint r ON r.conrelid = t.oid
            JOIN pg_class f ON f.oid = r.confrelid
            CROSS JOIN LATERAL unnest(r.conkey) WITH ORDINALITY AS k(number, place)
            JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.number
        WHERE r.contype = 'f' ORDER BY r.oid, k.place
    """,
    "triggers": """
        SELECT g.tgname FROM t JOIN pg_trigger g ON g.tgrelid = t.oid
        WHERE NOT g.tgisinternal AND g.tgenabled <> 'D'
    """,
}
