"""The users, with what they know, and what is set for each."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "accounts",
        sa.Column(
            "name",
            sa.String(64).with_variant(mysql.VARCHAR(64, collation="utf8mb4_bin"), "mysql", "mariadb"),
            primary_key=True,
        ),
        sa.Column("password", sa.Text),
        sa.Column("ha1_md5", sa.String(32)),
        sa.Column("ha1_sha256", sa.String(64)),
        sa.Column("ha1_sha512_256", sa.String(64)),
        sa.Column("ha1b_md5", sa.String(32)),
        sa.Column("enabled", sa.Boolean, nullable=False, server_default=sa.true()),
        sa.Column("display_name", sa.Text),
        sa.Column("identities", sa.Text),
        sa.Column("policy", sa.Text),
        sa.Column("max_calls", sa.Integer),
        sa.Column("srtp", sa.Text),
        sa.Column("record", sa.Text),
        sa.Column("hold_music", sa.Text),
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("accounts")
