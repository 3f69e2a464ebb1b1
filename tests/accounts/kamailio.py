"""A database as the scripts of Kamailio 5 make it, as far as it is read here: tables, columns and their defaults."""

from __future__ import annotations

#: For PostgreSQL; SQLite takes it with another kind of key. Both follow the documented columns of the modules
#: `auth_db` (table version 7) and `usrloc` (table version 9).
SUBSCRIBER = """
CREATE TABLE subscriber (
    id {key},
    username VARCHAR(64) DEFAULT '' NOT NULL,
    domain VARCHAR(64) DEFAULT '' NOT NULL,
    password VARCHAR(64) DEFAULT '' NOT NULL,
    ha1 VARCHAR(128) DEFAULT '' NOT NULL,
    ha1b VARCHAR(128) DEFAULT '' NOT NULL,
    CONSTRAINT subscriber_account_idx UNIQUE (username, domain)
)
"""
LOCATION = """
CREATE TABLE location (
    id {key},
    ruid VARCHAR(64) DEFAULT '' NOT NULL,
    username VARCHAR(64) DEFAULT '' NOT NULL,
    domain VARCHAR(64) DEFAULT NULL,
    contact VARCHAR(512) DEFAULT '' NOT NULL,
    received VARCHAR(128) DEFAULT NULL,
    path VARCHAR(512) DEFAULT NULL,
    expires {timestamp} DEFAULT '2030-05-28 21:32:15' NOT NULL,
    q REAL DEFAULT 1.0 NOT NULL,
    callid VARCHAR(255) DEFAULT 'Default-Call-ID' NOT NULL,
    cseq INTEGER DEFAULT 1 NOT NULL,
    last_modified {timestamp} DEFAULT '2000-01-01 00:00:01' NOT NULL,
    flags INTEGER DEFAULT 0 NOT NULL,
    cflags INTEGER DEFAULT 0 NOT NULL,
    user_agent VARCHAR(255) DEFAULT '' NOT NULL,
    socket VARCHAR(64) DEFAULT NULL,
    methods INTEGER DEFAULT NULL,
    instance VARCHAR(255) DEFAULT NULL,
    reg_id INTEGER DEFAULT 0 NOT NULL,
    server_id INTEGER DEFAULT 0 NOT NULL,
    connection_id INTEGER DEFAULT 0 NOT NULL,
    keepalive INTEGER DEFAULT 0 NOT NULL,
    "partition" INTEGER DEFAULT 0 NOT NULL
)
"""
#: In both of Kamailio's scripts the type of points in time has this name.
_TIMESTAMP = "TIMESTAMP WITHOUT TIME ZONE"


def schema(dialect: str, *, timestamp: str = _TIMESTAMP) -> list[str]:
    """Give the statements for `sqlite` or `postgresql`."""
    key = "SERIAL PRIMARY KEY NOT NULL" if dialect == "postgresql" else "INTEGER PRIMARY KEY NOT NULL"
    return [table.format(key=key, timestamp=timestamp) for table in (SUBSCRIBER, LOCATION)]
