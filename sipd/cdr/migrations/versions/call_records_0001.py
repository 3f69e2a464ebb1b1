"""Call records: one row for each call, and for each attempt where they are wanted. docs/records.md has the columns."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "call_records",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("call", sa.String(64), nullable=False, index=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("leg", sa.Text),
        sa.Column("label", sa.Text),
        sa.Column("call_id", sa.Text),
        sa.Column("direction", sa.String(16)),
        sa.Column("caller", sa.Text),
        sa.Column("caller_name", sa.Text),
        sa.Column("caller_identity", sa.Text),
        sa.Column("callee", sa.Text),
        sa.Column("user", sa.Text),
        sa.Column("trunk", sa.Text),
        sa.Column("aor", sa.Text),
        sa.Column("source", sa.Text),
        sa.Column("point", sa.Text),
        sa.Column("route", sa.Text),
        sa.Column("callee_uri", sa.Text),
        sa.Column("callee_user", sa.Text),
        sa.Column("callee_identity", sa.Text),
        sa.Column("callee_trunk", sa.Text),
        sa.Column("callee_call_id", sa.Text),
        sa.Column("started_at", sa.Double, index=True),
        sa.Column("ringing_at", sa.Double),
        sa.Column("answered_at", sa.Double),
        sa.Column("ended_at", sa.Double),
        sa.Column("post_dial_delay", sa.Double),
        sa.Column("duration", sa.Double),
        sa.Column("billable_seconds", sa.Integer),
        sa.Column("status", sa.Integer),
        sa.Column("reason", sa.Text),
        sa.Column("ended_by", sa.Text),
        sa.Column("cause", sa.Text),
        sa.Column("hangup_cause", sa.Integer),
        sa.Column("hangup_name", sa.Text),
        sa.Column("hangup_reason", sa.Text),
        sa.Column("hangup_text", sa.Text),
        sa.Column("session_id", sa.Text),
        sa.Column("transfers", sa.Integer),
        sa.Column("media_verdict", sa.Text),
        sa.Column("details", sa.Text, nullable=False),
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("call_records")
