"""Rows of Kamailio's tables: what becomes of each, and why some cannot be taken."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.accounts.kamailio import (
    LOCATION_COLUMNS,
    SUBSCRIBER_COLUMNS,
    KamailioDatabase,
    NotTakenError,
    Place,
    rank,
    read_location,
    read_subscriber,
    shown,
)
from sipd.errors import LocalError
from sipd.interfaces import Binding, ListeningPoint
from sipd.sip.digest import compute_ha1
from sipd.sip.fields import NameAddr
from sipd.sip.locate import Target, Transport
from tests.accounts.kamailio import schema

NOW = 1_700_000_000.0
POINT = ListeningPoint(
    name="outside",
    transport=Transport.UDP,
    host="192.0.2.10",
    port=5060,
    advertised_host="203.0.113.5",
    advertised_port=5070,
)
PLACE = Place(domains=("example.com", "example.org"), realm="example.com", zone=UTC, points=(POINT,))
MD5 = compute_ha1("MD5", "alice", "example.com", "wonderland")
MD5_OF_ADDRESS = compute_ha1("MD5", "alice@example.com", "example.com", "wonderland")


class SubscriberTests(SynchronousTestCase):
    """Rows of `subscriber`."""

    def read(self, **columns: object) -> dict[str, object]:
        """Read a row of alice's, with these columns different."""
        row = {"username": "alice", "domain": "example.com", "password": "", "ha1": MD5, "ha1b": MD5_OF_ADDRESS}
        return read_subscriber({**row, **columns}, PLACE)

    def reason(self, **columns: object) -> str:
        """Give why a row cannot be taken."""
        return str(self.assertRaises(NotTakenError, self.read, **columns))

    def test_hashes(self) -> None:
        """Hashes are taken as they are."""
        expected = {
            "name": "alice",
            "password": None,
            "ha1_md5": MD5,
            "ha1_sha256": None,
            "ha1_sha512_256": None,
            "ha1b_md5": MD5_OF_ADDRESS,
        }
        self.assertEqual(self.read(), expected)
        self.assertEqual(
            self.read(ha1_sha256="A" * 64, ha1_sha512t256="b" * 64),
            {**expected, "ha1_sha256": "a" * 64, "ha1_sha512_256": "b" * 64},
        )

    def test_password(self) -> None:
        """A password is taken, unless the hash beside it is of another one."""
        self.assertEqual(self.read(password="wonderland")["password"], "wonderland")
        self.assertEqual(self.read(password="wonderland", ha1="", ha1b="")["password"], "wonderland")
        self.assertIsNone(self.read(password="something old")["password"])
        self.assertEqual(self.read(password=" a ", ha1="")["password"], " a ")

    def test_domains(self) -> None:
        """Of another domain of ours a password is taken and a hash is not; of any other domain, nothing."""
        values = self.read(domain="Example.ORG", password="wonderland")
        self.assertEqual((values["password"], values["ha1_md5"], values["ha1b_md5"]), ("wonderland", None, None))
        self.assertEqual(self.reason(domain="example.org"), "no password, and its hash is not for example.com")
        self.assertEqual(self.reason(domain="evil.example"), "evil.example is no domain of ours")
        self.assertEqual(self.read(domain="")["ha1_md5"], MD5)

    def test_not_taken(self) -> None:
        """What makes no sense is not taken, and no secret is in the reason."""
        self.assertEqual(self.reason(username="a b"), "no name that a user of sipd can have")
        self.assertEqual(self.reason(username=""), "no name that a user of sipd can have")
        self.assertEqual(self.reason(username=None), "no name that a user of sipd can have")
        self.assertEqual(self.reason(ha1="", ha1b=""), "neither a password nor a hash")
        self.assertEqual(self.reason(ha1="secret"), "ha1: 32 hexadecimal digits for MD5 expected")
        self.assertEqual(self.reason(password="a\nb", ha1=""), "password: a line of at most 1024 characters expected")

    def test_rank(self) -> None:
        """Rows of the realm come first, those of foreign domains last."""
        order = [rank({"domain": domain}, PLACE) for domain in ("Example.com", "example.org", "", "evil.example")]
        self.assertEqual(order, [0, 1, 2, 3])

    def test_shown(self) -> None:
        """A row is named by its key and its address, in one harmless line."""
        self.assertEqual(shown({"id": 7, "username": "alice", "domain": "example.com"}), "7 (alice@example.com)")
        self.assertEqual(shown({"username": "a\x1b[2J\n"}), "? (a\\x1b[2J)")
        self.assertLess(len(shown({"id": 1, "username": "x" * 9999})), 120)


class LocationTests(SynchronousTestCase):
    """Rows of `location`."""

    row: dict[str, Any] = {  # noqa: RUF012
        "id": 1,
        "username": "alice",
        "domain": "example.com",
        "contact": "sip:alice@10.0.0.7:5062;transport=tcp;ob",
        "received": "sip:198.51.100.7:40001;transport=TCP",
        "path": "<sip:edge.example.com;lr>,<sip:[2001:db8::1];lr>",
        "expires": datetime.fromtimestamp(NOW + 600, UTC).replace(tzinfo=None),
        "q": 0.5,
        "callid": "c1@10.0.0.7",
        "cseq": 17,
        "user_agent": "phone/1",
        "socket": "udp:192.0.2.10:5060",
        "instance": "<urn:uuid:1>",
        "reg_id": 1,
    }

    def read(self, **columns: object) -> Binding:
        """Read a row, with these columns different."""
        return read_location({**self.row, **columns}, PLACE, NOW)

    def reason(self, **columns: object) -> str:
        """Give why a row cannot be taken."""
        return str(self.assertRaises(NotTakenError, self.read, **columns))

    def test_everything(self) -> None:
        """All that Kamailio keeps of a contact is in the binding."""
        contact = '<sip:alice@10.0.0.7:5062;transport=tcp;ob>;q=0.5;+sip.instance="<urn:uuid:1>";reg-id=1'
        found = self.read()
        self.assertEqual(
            found,
            Binding(
                aor="sip:alice@example.com",
                contact=contact,
                uri=NameAddr.parse(contact).uri,
                q=0.5,
                expires_at=NOW + 600,
                call_id="c1@10.0.0.7",
                cseq=17,
                path=("<sip:edge.example.com;lr>", "<sip:[2001:db8::1];lr>"),
                source=Target(transport=Transport.TCP, host="198.51.100.7", port=40001),
                point="outside",
                user_agent="phone/1",
            ),
        )
        assert found.source is not None
        self.assertEqual(found.source.point, "outside")

    def test_little(self) -> None:
        """A contact and when it expires are enough."""
        row = {column: self.row[column] for column in ("username", "contact", "expires")}
        found = read_location(row, PLACE, NOW)
        self.assertEqual((found.aor, found.q, found.path, found.source), ("sip:alice@example.com", 1.0, (), None))
        self.assertEqual((found.call_id, found.cseq, found.point, found.user_agent), ("", 0, "", ""))

    def test_q(self) -> None:
        """Kamailio writes -1 where the phone said nothing of q."""
        for value, q in ((-1.0, 1.0), (None, 1.0), (1.0, 1.0), (0, 0.0), (0.699999988, 0.7)):
            self.assertEqual(self.read(q=value).q, q)

    def test_moments(self) -> None:
        """A point in time is understood however the database has it."""
        at = NOW + 600
        for value in (
            datetime.fromtimestamp(at, UTC).replace(tzinfo=None),
            datetime.fromtimestamp(at, timezone(timedelta(hours=5))),
            "2023-11-14 22:23:20",
            int(at),
            at,
            at / 86400 + 2440587.5,  # as Kamailio writes it into SQLite
        ):
            self.assertAlmostEqual(self.read(expires=value).expires_at, at, places=3, msg=repr(value))

    def test_zone(self) -> None:
        """Kamailio writes local time; the zone says where."""
        place = Place(domains=PLACE.domains, realm=PLACE.realm, zone=timezone(timedelta(hours=2)))
        self.assertEqual(read_location(self.row, place, NOW - 7200).expires_at, NOW + 600 - 7200)

    def test_domain(self) -> None:
        """A contact without a domain is of the first one."""
        self.assertEqual(self.read(domain=None).aor, "sip:alice@example.com")
        self.assertEqual(self.read(domain="example.ORG").aor, "sip:alice@example.org")
        self.assertEqual(self.reason(domain="evil.example"), "evil.example is no domain of ours")

    def test_sockets(self) -> None:
        """A socket of Kamailio's is a listening point if one of ours has its address, as bound or as told to others."""
        for socket, point in (
            ("udp:203.0.113.5:5070", "outside"),
            ("tcp:192.0.2.10:5060", ""),
            ("udp:192.0.2.11:5060", ""),
            ("nonsense", ""),
            (None, ""),
        ):
            self.assertEqual(self.read(socket=socket).point, point)

    def test_not_taken(self) -> None:
        """Each row that cannot be taken has a reason."""
        for columns, reason in (
            ({"username": "a b"}, "no name that a user of sipd can have"),
            ({"contact": ""}, "its contact is no URI: "),
            ({"contact": "tel:+1"}, "its contact is no sip or sips URI"),
            ({"contact": "sip:a@b;transport=ws"}, "it is bound to a connection to Kamailio (WebSocket)"),
            ({"expires": int(NOW)}, "it has expired"),
            ({"expires": 0}, "it never expires; make it a route"),
            ({"expires": datetime(1970, 1, 1, 1)}, "it never expires; make it a route"),
            ({"expires": "soon"}, "when it expires is no point in time"),
            ({"expires": None}, "when it expires is no point in time"),
            ({"expires": float("nan")}, "when it expires is out of reach"),
            ({"expires": 10**400}, "when it expires is out of reach"),
            ({"expires": True}, "when it expires is no point in time"),
            ({"received": "nonsense"}, "where it was received from makes no sense"),
            ({"received": "tel:+1"}, "where it was received from is no sip URI"),
            ({"received": "sip:host.example"}, "where it was received from is no address"),
            ({"received": "sip:192.0.2.1;transport=sctp"}, "where it was received from makes no sense"),
            ({"path": "<nonsense"}, "its path makes no sense: "),
            ({"path": "<tel:+1>"}, "its path has no sip or sips URI"),
            ({"callid": "x" * 5000}, "a text in it is too long"),
            ({"domain": "example.com", "contact": "sip:" + "x" * 5000 + "@b"}, "a text in it is too long"),
        ):
            with self.subTest(str(columns)[:60]):
                self.assertTrue(self.reason(**columns).startswith(reason), self.reason(**columns))

    _values = st.none() | st.integers() | st.floats() | st.text(max_size=30) | st.datetimes() | st.binary(max_size=5)

    @example({"q": -0.0})
    @given(st.dictionaries(st.sampled_from(LOCATION_COLUMNS), _values, max_size=5))
    @settings(deadline=None, max_examples=500)
    def test_any_row(self, columns: dict[str, object]) -> None:
        """Whatever is in a row, it is taken or has a reason of one line."""
        try:
            found = self.read(**columns)
        except NotTakenError as error:
            self.assertTrue(str(error))
        else:
            self.assertEqual(NameAddr.parse(found.contact).uri, found.uri)
            self.assertGreater(found.expires_at, NOW)


class DatabaseTests(SynchronousTestCase):
    """The tables of an SQLite file."""

    def setUp(self) -> None:
        """Make it."""
        self.path = Path(self.mktemp()).absolute()
        self.url = f"sqlite:///{self.path}"

    def execute(self, statement: str) -> None:
        """Change the file."""
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute(statement)

    def rows(self, table: str, columns: tuple[str, ...], url: str = "") -> list[Any]:
        """Give the rows of a table."""
        database = KamailioDatabase(url or self.url)
        self.addCleanup(database.close)
        return list(database.rows(table, columns))

    def test_rows(self) -> None:
        """Rows are given with the columns that there are, as the database has them."""
        for statement in schema("sqlite"):
            self.execute(statement)
        self.execute("INSERT INTO subscriber (username, domain, ha1) VALUES ('alice', 'example.com', 'x')")
        self.execute("INSERT INTO location (username, contact, expires) VALUES ('alice', 'sip:a@b', 2460263.43)")
        (subscriber,) = self.rows("subscriber", SUBSCRIBER_COLUMNS)
        self.assertEqual(
            subscriber,
            {"id": 1, "username": "alice", "domain": "example.com", "password": "", "ha1": "x", "ha1b": ""},
        )
        (location,) = self.rows("location", LOCATION_COLUMNS)
        self.assertEqual((location["expires"], location["callid"], location["q"]), (2460263.43, "Default-Call-ID", 1.0))

    def test_failures(self) -> None:
        """What cannot be read is one line without a password."""
        self.execute("CREATE TABLE location (id INTEGER)")
        for table, url, expected in (
            ("subscriber", "", "subscriber"),
            ("location", "", "table location has no column username, contact, expires"),
            ("location", "nonsense", "malformed"),
            ("location", "postgresql+nodriver://u:secret@h/d", "nodriver"),
            ("location", "postgresql+psycopg://u:se@secret:cret@h/d", "malformed"),
            ("location", "postgresql+psycopg://u:se@secret@127.0.0.1:1/d", "malformed"),
            ("location", "postgresql+psycopg://u:secret@127.0.0.1:1/d", "127.0.0.1"),
        ):
            with self.subTest(f"{table} {url}"):
                error = str(self.assertRaises(LocalError, self.rows, table, ("username",), url))
                self.assertIn(expected, error)
                self.assertNotIn("secret", error)
                self.assertNotIn("\n", error)
