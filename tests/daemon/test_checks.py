"""Tests of `sipd.daemon.checks`: values that are good by themselves and not together."""

from __future__ import annotations

from tests.daemon.case import MINIMAL, ConfigCase


class RelationTests(ConfigCase):
    """Values that are good by themselves and not together."""

    def listen(self, *points: str) -> str:
        """Give a file with these listening points."""
        return 'domains = ["a.example"]\nstate_directory = "s"\n' + "\n".join(
            f"[[listen]]\n{point}" for point in points
        )

    def test_same_names(self) -> None:
        """Two listening points, users or routes of one name are refused at the second."""
        point = 'name = "a"\ntransport = "udp"\naddress = "192.0.2.1"\nport = {}'
        self.assert_problem(
            self.listen(point.format(5060), point.format(5070)),
            'listen[1].name: a name of its own expected (listen[0] is "a" too)',
        )
        user = '[[users]]\nname = "a"\npassword = "x"\n'
        self.assert_problem(MINIMAL + user * 2, 'users[1].name: a name of its own expected (users[0] is "a" too)')
        route = '[[routes]]\nname = "a"\nto = "sip:a@b"\n'
        self.assert_problem(MINIMAL + route * 2, 'routes[1].name: a name of its own expected (routes[0] is "a" too)')

    def test_same_place(self) -> None:
        """Two listening points cannot share address and port, however the address is written; UDP and TCP can."""
        same = "listen[1].port: an address and port of its own expected (listen[0] has them)"
        for first, second, expected in (
            ('transport = "udp"\naddress = "::1"', 'transport = "udp"\naddress = "0:0::1"\nport = 5060', [same]),
            (
                'transport = "tcp"\naddress = "10.0.0.1"\nport = 5061',
                'transport = "tls"\naddress = "10.0.0.1"\nself_signed = true',
                [same],
            ),
            ('transport = "tcp"\naddress = "10.0.0.1"', 'transport = "udp"\naddress = "10.0.0.1"', []),
            (
                'transport = "udp"\naddress = "10.0.0.1"\nport = 0',
                'transport = "udp"\naddress = "10.0.0.1"\nport = 0',
                [],
            ),
        ):
            text = self.listen(f'name = "a"\n{first}', f'name = "b"\n{second}')
            with self.subTest(text):
                if expected:
                    self.assert_problem(text, *expected)
                else:
                    self.assertEqual(len(self.load(text).listen), 2)

    def test_tls(self) -> None:
        """TLS needs a certificate with its key, and an authority to verify clients; nothing else takes them."""
        (self.directory / "x.pem").write_text("x")
        for more, expected in (
            ('transport = "tls"', ["listen[0].certificate: required for TLS, and missing (or set self_signed = true)"]),
            ('transport = "tls"\ncertificate = "x.pem"', ["listen[0].key: required beside certificate, and missing"]),
            ('transport = "tls"\nkey = "x.pem"', ["listen[0].certificate: required beside key, and missing"]),
            (
                'transport = "tls"\nself_signed = true\ncertificate = "x.pem"\nkey = "x.pem"',
                ["listen[0].self_signed: either a certificate or self_signed expected, not both"],
            ),
            (
                'transport = "tls"\nself_signed = true\nclient_verification = "required"',
                ["listen[0].ca: required where clients are verified, and missing"],
            ),
            ('transport = "tcp"\nself_signed = true', ['listen[0].self_signed: for transport = "tls" or "wss" only']),
            ('transport = "udp"\nca = "x.pem"', ['listen[0].ca: for transport = "tls" or "wss" only']),
            ('transport = "wss"', ["listen[0].certificate: required for WSS, and missing (or set self_signed = true)"]),
            ('transport = "ws"\nself_signed = true', ['listen[0].self_signed: for transport = "tls" or "wss" only']),
            ('transport = "tcp"\npath = "/sip"', ['listen[0].path: for transport = "ws" or "wss" only']),
            ('transport = "tcp"\norigins = []', ['listen[0].origins: for transport = "ws" or "wss" only']),
        ):
            with self.subTest(more):
                self.assert_problem(self.listen(f'name = "a"\naddress = "192.0.2.1"\n{more}'), *expected)

    def test_unspecified_address(self) -> None:
        """Whoever listens on all addresses has to say which one to tell others, for signalling and for media."""
        text = self.listen('name = "a"\ntransport = "udp"\naddress = "0.0.0.0"')
        self.assert_problem(
            text,
            'listen[0].advertised_address: required where address is "0.0.0.0", and missing: which address do others '
            "send to?",
            'media.addresses: required where listen[0].address is "0.0.0.0", and missing',
        )
        fixed = text + '\nadvertised_address = "sip.example.com"\n[media]\naddresses = [{ address = "192.0.2.1" }]'
        self.assertEqual(self.load(fixed).listen[0].advertised_address, "sip.example.com")
        self.assert_problem(
            MINIMAL + '[media]\naddresses = [{ address = "::" }]',
            "media.addresses[0].address: an address of this host expected: media is bound to one address, "
            "and SDP names it",
        )

    def test_one_media_address_of_each_version(self) -> None:
        """A second media address of the same version of IP is refused."""
        text = '[media]\naddresses = [{ address = "10.0.0.1" }, { address = "::1" }, { address = "10.0.0.2" }]'
        self.assert_problem(
            MINIMAL + text,
            "media.addresses[2].address: one address for each version of IP expected "
            "(media.addresses[0] is of the same)",
        )

    def test_users_need_one_proof(self) -> None:
        """A user has a password or hashes, not neither and not both; and a hash that is asked for."""
        digest = "0" * 32
        for user, *expected in (
            ("", "users[0].password: required (or ha1), and missing"),
            (
                f'password = "x"\nha1 = {{ MD5 = "{digest}" }}',
                "users[0].ha1: either password or ha1 expected, not both",
            ),
            (
                f'ha1 = {{ MD5 = "{digest}" }}\n[authentication]\nalgorithms = ["SHA-256"]',
                "users[0].ha1: a hash for one of authentication.algorithms expected (SHA-256)",
            ),
        ):
            with self.subTest(user):
                self.assert_problem(f'{MINIMAL}[[users]]\nname = "a"\n{user}', *expected)

    def test_identities(self) -> None:
        """An address belongs to one user, and is one; networks are networks, and words are those that there are."""
        users = '[[users]]\nname = "a"\npassword = "x"\nidentities = [{}]\n[[users]]\nname = "b"\npassword = "x"\n'
        second = 'identities = ["tel:+1-2"]\n'
        mine = 'users[0].identities[0]: an address of this user\'s own expected (it is that of "b")'
        for first, more, *expected in (
            ('"sip:b@example.com"', "", mine),
            ('"tel:+12"', second, mine.replace("users[0]", "users[1]").replace('"b"', '"a"')),
            ('"sip:example.com"', "", 'users[0].identities[0]: an address such as "tel:+49301234" or '
             '"sip:sales@example.com" expected (got "sip:example.com")'),
            ('"urn:x:1"', "", 'users[0].identities[0]: an address such as "tel:+49301234" or '
             '"sip:sales@example.com" expected (got "urn:x:1")'),
            ('"+4930"', "", 'users[0].identities[0]: a URI such as "sip:proxy.example.com" expected: '
             "A URI without a scheme"),
        ):  # fmt: skip
            with self.subTest(f"{first} {more}"):
                self.assert_problem(MINIMAL + users.format(first) + more, *expected)
        good = self.load(MINIMAL + users.format('"sip:a@example.com", "sip:sales@example.com", "tel:+1"') + second)
        self.assertEqual([len(user.identities) for user in good.users], [3, 1])
        for text, *expected in (
            ('trust = ["gw.example.com"]', 'identity.trust[0]: an address or a network such as "192.0.2.0/24" expected '
             '(got "gw.example.com")'),
            ('form = "from"', 'identity.form: "pai", "rpid" or "both" expected (got "from")'),
            ('history = "keep"', 'identity.history: "remove", "anonymise" or "pass" expected (got "keep")'),
            ('anonymise = "yes"', 'identity.anonymise: true or false expected (got text)'),
        ):  # fmt: skip
            with self.subTest(text):
                self.assert_problem(f"{MINIMAL}[identity]\n{text}", *expected)

    def test_bounds_in_order(self) -> None:
        """A lower bound above its upper one is refused, also against a default."""
        for text, expected in (
            (
                "[registrar]\nminimum_expires = 3000\ndefault_expires = 2000",
                "registrar.minimum_expires: minimum_expires no greater than default_expires expected "
                "(got 3000 and 2000)",
            ),
            (
                "[registrar]\nmaximum_expires = 600",
                "registrar.maximum_expires: default_expires no greater than maximum_expires expected "
                "(got 3600 and 600)",
            ),
            (
                "[timers]\nsession = 60",
                "timers.session: session_minimum no greater than session expected (got 90 and 60)",
            ),
            ("[timers]\nt1 = 5.0", "timers.t1: t1 no greater than t2 expected (got 5.0 and 4.0)"),
            (
                "[limits]\nconnections = 10\nconnections_per_source = 11",
                "limits.connections_per_source: no more than connections expected (got 11 and 10)",
            ),
        ):
            with self.subTest(text):
                self.assert_problem(MINIMAL + text, expected)

    def test_media_ports(self) -> None:
        """The port range begins even, holds two pairs at least, and no listening point lies in it."""
        for text, *expected in (
            (
                "[media]\nfirst_port = 10001\nlast_port = 10100",
                "media.first_port: an even port expected: RTP is even, RTCP the next (got 10001)",
            ),
            (
                "[media]\nfirst_port = 10000\nlast_port = 10002",
                "media.last_port: at least 4 ports from first_port to last_port expected (got 10000 to 10002)",
            ),
            (
                "[media]\nfirst_port = 40000",
                "media.first_port: at least 4 ports from first_port to last_port expected (got 40000 to 32767)",
            ),
            (
                "[media]\nfirst_port = 5000\nlast_port = 6000",
                "listen[0].port: a port outside of the media's 5000 to 6000 expected (got 5060)",
            ),
        ):
            with self.subTest(text):
                self.assert_problem(MINIMAL + text, *expected)

    def test_routes(self) -> None:
        """A route leads somewhere or refuses; its patterns compile, its template names what they capture."""
        groups = "is no group of this route's user pattern; there are: 0"
        for text, *expected in (
            ("", "routes[0].to: required (or refuse, registered, trunks, prefixes, sippy or next), and missing"),
            ('to = "sip:a@b"\nrefuse = [403, "No"]', "routes[0].to: not possible beside refuse"),
            ('refuse = [403, "No"]\ntimeout = 5.0', "routes[0].timeout: not possible beside refuse"),
            ('refuse = [403, "No"]\ntrusted = true', "routes[0].trusted: not possible beside refuse"),
            (
                'refuse = [200, "OK"]',
                'routes[0].refuse: a status from 400 to 699 and a reason, such as [403, "Forbidden"], expected '
                '(got [200, "OK"])',
            ),
            (
                "refuse = 403",
                'routes[0].refuse: a status from 400 to 699 and a reason, such as [403, "Forbidden"], expected',
            ),
            ('refuse = [403, "a\\nb"]', "routes[0].refuse: a reason of one line expected"),
            (
                'user = "(?P<number>[0-9]+)"\nto = "sip:{nummer}@b"',
                f"routes[0].to: {{nummer}} {groups}, 1, number, called",
            ),
            (
                'user = "(?P<number>[0-9+"\nto = "sip:{number}@b"',
                "routes[0].user: a regular expression expected: unterminated character set at position 11 "
                '(got "(?P<number>[0-9+")',
            ),
            (
                'to = "sip:{user@b"',
                "routes[0].to: a text with groups in braces expected: expected '}' before end of string",
            ),
            ('to = "sip:{}@b"', f"routes[0].to: {{}} {groups}, called"),
            (
                'to = "sip:{0.__class__}@b"',
                f"routes[0].to: {{0.__class__}} {groups}, called",
            ),
            ('to = "https://example.com/{0}"', "routes[0].to: a sip, sips or tel URI expected (got a https URI)"),
            (
                'to = "sip:a@b"\nsources = ["10.0.0.1/8"]',
                'routes[0].sources[0]: an address or a network such as "192.0.2.0/24", with no bits set after the '
                'prefix expected (got "10.0.0.1/8")',
            ),
            (
                'to = "sip:a@b"\nsources = ["10.0.0.0/33"]',
                'routes[0].sources[0]: an address or a network such as "192.0.2.0/24" expected (got "10.0.0.0/33")',
            ),
            ('to = "sip:a@b"\nnext_hop = "tel:+1"', 'routes[0].next_hop: a sip or sips URI expected (got "tel:+1")'),
            (
                'to = "sip:a@b"\ncredentials = { username = "u" }',
                "routes[0].credentials.password: required, and missing",
            ),
        ):
            with self.subTest(text):
                self.assert_problem(f'{MINIMAL}[[routes]]\nname = "r"\n{text}', *expected)

    def test_a_good_route(self) -> None:
        """Conditions, template, next hop and credentials of a route are read."""
        text = """
        [[routes]]
        name = "gateway"
        user = "\\\\+?(?P<number>[0-9]+)"
        from = "sip:alice@.*"
        sources = ["10.0.0.0/8", "::1"]
        to = "sip:{number}@b.example;user=phone"
        timeout = 20
        next_hop = "sips:proxy.example.com"
        credentials = { username = "u", password = "p" }
        """
        (route,) = self.load(MINIMAL + text).routes
        assert route.user is not None and route.from_ is not None and route.next_hop is not None
        self.assertTrue(route.user.fullmatch("+4930"))
        self.assertEqual([str(network) for network in route.sources], ["10.0.0.0/8", "::1/128"])
        self.assertEqual((route.timeout, route.next_hop.is_secure, route.authenticate), (20.0, True, True))

    def test_everything_in_one_run(self) -> None:
        """Mistakes of every section, of values and of relations, are all in one list, in the order of the sections."""
        text = """
        domain = ["example.com"]
        state_directory = 5
        [[listen]]
        name = "x"
        transport = "tls"
        address = "300.1.1.1"
        [[users]]
        name = "alice"
        [timers]
        t1 = "soon"
        [cdr]
        fsync = "sometimes"
        """
        self.assert_problem(
            text,
            "domains: required, and missing",
            "state_directory: a path expected (got a whole number)",
            'listen[0].address: an IPv4 or IPv6 address expected (got "300.1.1.1")',
            "listen[0].certificate: required for TLS, and missing (or set self_signed = true)",
            "users[0].password: required (or ha1), and missing",
            "timers.t1: a number expected (got text)",
            'cdr.fsync: "always", "interval" or "never" expected (got "sometimes")',
            'domain: unknown key; did you mean "domains"?',
        )
