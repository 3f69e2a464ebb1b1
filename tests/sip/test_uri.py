"""URIs: what parses, what is refused, what is equal, what is printed."""

from __future__ import annotations

import time

from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import ParseError
from sipd.sip.uri import OtherUri, SipUri, TelUri, parse_sip_uri, parse_uri


class SipUriTests(SynchronousTestCase):
    """Parsing `sip` and `sips` (RFC 3261 section 19.1)."""

    def test_takes_a_uri_apart(self) -> None:
        """Each part is found; names are in lower case, values as written."""
        uri = parse_sip_uri(
            "SIPS:ali%63e:s3cr:et@Example.COM:5061;Transport=TCP;lr?Subject=a%20b&to=c".replace(":et", "et")
        )
        self.assertEqual(
            (uri.scheme, uri.user, uri.password, uri.host, uri.port),
            ("sips", "ali%63e", "s3cret", "example.com", 5061),
        )
        self.assertEqual(uri.parameters, {"transport": "TCP", "lr": None})
        self.assertEqual(uri.headers, (("Subject", "a%20b"), ("to", "c")))
        self.assertTrue(uri.is_secure)
        self.assertEqual(uri.transport, "tcp")

    def test_takes_examples_of_the_rfc(self) -> None:
        """The examples of section 19.1.3 parse and print themselves."""
        for text in (
            "sip:alice@atlanta.com",
            "sip:alice:secretword@atlanta.com;transport=tcp",
            "sips:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:+1-212-555-1212:1234@gateway.com;user=phone",
            "sips:1212@gateway.com",
            "sip:alice@192.0.2.4",
            "sip:atlanta.com;method=REGISTER?to=alice%40atlanta.com",
            "sip:alice;day=tuesday@atlanta.com",
        ):
            uri = parse_uri(text)
            self.assertIsInstance(uri, SipUri)
            self.assertEqual(str(uri), text)
        self.assertEqual(parse_sip_uri("sip:alice;day=tuesday@atlanta.com").user, "alice;day=tuesday")

    def test_prints_what_was_written(self) -> None:
        """Escapes, case and empty places are kept, since another element wrote them for a reason."""
        for text in ("SiP:%61%6c@EXAMPLE.com;LR;x=%41", "sip:a@b;;lr", "sip:*21%23@x", "sip:h?", "sip:null-%00-null@h"):
            self.assertEqual(str(parse_uri(text)), text)

    def test_takes_strange_user_parts(self) -> None:
        """RFC 4475 sections 3.1.1.2, 3.1.1.3 and 3.1.1.9: reserved and escaped characters belong to the user."""
        text = "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"
        self.assertEqual(parse_sip_uri(f"sip:{text}:&it+has=1,weird!*pas$wo~d_too.(x)@example.com").user, text)
        self.assertEqual(parse_sip_uri("sip:sips%3Auser%40example.com@example.net").user, "sips%3Auser%40example.com")
        self.assertEqual(parse_sip_uri("sip:user;par=u%40example.net@example.com").user, "user;par=u%40example.net")
        self.assertEqual(parse_sip_uri("sip:%00%00@h").user, "%00%00")

    def test_takes_ipv6_references(self) -> None:
        """RFC 5118 sections 4.1, 4.3 and 4.4: brackets tell address from port."""
        for text, host, port in (
            ("sip:[2001:db8::10]", "2001:db8::10", None),
            ("sip:[2001:db8::10:5070]", "2001:db8::10:5070", None),
            ("sip:u@[2001:DB8::10]:5070;lr", "2001:db8::10", 5070),
            ("sip:[::ffff:192.0.2.10]", "::ffff:192.0.2.10", None),
        ):
            uri = parse_sip_uri(text)
            self.assertEqual((uri.host, uri.port), (host, port))
        self.assertEqual(parse_sip_uri("sip:u@[2001:DB8::10]:5070").host_port, "[2001:db8::10]:5070")
        self.assertEqual(str(SipUri("::1", "u", 5070)), "sip:u@[::1]:5070")

    def test_refuses_malformed_ones(self) -> None:
        """Bad hosts, ports, escapes, IPv6 addresses, white space, brackets, controls, and nothing at all."""
        for text in (
            "", ":", "sip", "sip:", "sips:", "sip:@h", "sip:a@", "sip:a@b@c", "sip::pw@h", "sip:a@b:", "sip:a@b:x",
            "sip:a@b:65536", "sip:a@b:123456", "sip:a@b:-1", "sip:a@b c", " sip:a@b", "sip:a@b ", "<sip:a@b>",
            "sip:a%4@b", "sip:a%zz@b", "sip:a@b;x=%", "sip:a@b;lr;LR", "sip:a@b;=1", "sip:a@b?x", "sip:a@b?=1",
            "sip:a@b?x=1&", "sip:[::1", "sip:::1", "sip:2001:db8::10", "sip:[:::1]", "sip:[2001:db8:::192.0.2.1]",
            "sip:[fe80::1%25eth0]", "sip:[1.2.3.4]", "sip:a@[v1.x]", "sip:a@b\r\nX: y", "sip:a\0@b", "sip:a@b\x7f",
            'sip:"a"@b', "sip:a@ho/st", "sip:a@é.com", "sip:a@b;x=c@d", "//a@b", "1sip:a@b",
        ):  # fmt: skip
            self.assertRaises(ParseError, parse_uri, text)

    def test_letters_of_other_alphabets_are_no_ascii_letters(self) -> None:
        """Python lets a long s match s in any case, and a Kelvin sign match k: neither is a scheme or a host."""
        for text in ("\u017fip:a@b", "sip:a@\u212aelvin", "sip:a@\u017f.com", "\u212a:a"):
            self.assertRaises(ParseError, parse_uri, text)

    def test_escaped_parameter_names_mean_the_plain_name(self) -> None:
        """RFC 4475 section 3.1.1.3: `%6C%72` is `lr`; the value is unescaped once only."""
        uri = parse_sip_uri("sip:cal%6Cer@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31")
        self.assertIn("lr", uri.parameters)
        self.assertEqual(uri, parse_uri("sip:caller@host5.example.net;lr;name=value%2541"))
        self.assertNotEqual(uri, parse_uri("sip:caller@host5.example.net;lr;name=valueA"))
        self.assertRaises(ParseError, parse_uri, "sip:a@b;lr;%6C%72")

    def test_replaces_parts_in_a_copy(self) -> None:
        """The original stays; the copy is printed anew."""
        uri = parse_sip_uri("sip:alice@EXAMPLE.com:5070;lr?x=y")
        copy = uri.replace(user="bob", port=None, headers=())
        self.assertEqual(str(copy), "sip:bob@example.com;lr")
        self.assertEqual(str(uri), "sip:alice@EXAMPLE.com:5070;lr?x=y")
        self.assertRaises(TypeError, uri.replace, nonsense=1)

    def test_gives_what_may_stand_in_a_request_line(self) -> None:
        """Headers and `method` are left off (section 19.1.1, table 1); a URI without them is given back."""
        uri = parse_sip_uri("sip:a@b;method=BYE;lr?x=y")
        self.assertEqual(str(uri.without_headers()), "sip:a@b;lr")
        plain = parse_sip_uri("sip:a@b;lr")
        self.assertIs(plain.without_headers(), plain)


class ComparisonTests(SynchronousTestCase):
    """RFC 3261 section 19.1.4, with its own examples."""

    EQUAL = (
        ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
        ("sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on"),
        (
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
        ),
        (
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
        ),
        ("sip:a@[2001:db8::1]", "sip:a@[2001:0DB8:0:0:0:0:0:1]"),
        ("sip:*21%23@b", "sip:*21#@b"),
        ("sip:j%c3%bcrgen@b", "sip:jürgen@b"),
        ("sip:a%2Fb@c", "sip:a%2fb@c"),
        ("sip:a@b;x=A", "sip:a@b;x=a"),
        ("sip:a:p%77@b", "sip:a:pw@b"),
    )  # fmt: skip
    DIFFERENT = (
        ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
        ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
        ("sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;newparam=6"),
        ("sip:a@b", "sips:a@b"),
        ("sip:a@b", "sip:b"),
        ("sip:a@b", "sip:a:pw@b"),
        ("sip:a@b", "sip:a@b;user=phone"),
        ("sip:a@b", "sip:a@b;ttl=1"),
        ("sip:a@b", "sip:a@b;method=INVITE"),
        ("sip:a@b", "sip:a@b;maddr=b"),
        ("sip:a%2Fb@c", "sip:a/b@c"),
        ("sip:a%00b@c", "sip:a@c"),
        ("sip:a@b;lr", "sip:a@b;lr=on"),
    )  # fmt: skip

    def test_equal_pairs_are_equal_both_ways(self) -> None:
        """Equal URIs are equal in both orders, and have the same hash."""
        for one, other in self.EQUAL:
            self.assertEqual(parse_uri(one), parse_uri(other))
            self.assertEqual(parse_uri(other), parse_uri(one))
            self.assertEqual(hash(parse_uri(one)), hash(parse_uri(other)), one)

    def test_different_pairs_differ_both_ways(self) -> None:
        """What the RFC calls different is different in both orders."""
        for one, other in self.DIFFERENT:
            self.assertNotEqual(parse_uri(one), parse_uri(other))
            self.assertNotEqual(parse_uri(other), parse_uri(one))

    def test_nothing_else_is_equal_to_a_uri(self) -> None:
        """Text is not a URI, and URIs of two kinds are never equal."""
        uris = [parse_uri("sip:1@b"), parse_uri("tel:1"), parse_uri("urn:1")]
        for uri in uris:
            self.assertNotEqual(uri, str(uri))
            self.assertEqual([other for other in uris if other == uri], [uri])


class AddressOfRecordTests(SynchronousTestCase):
    """The key of a registration (RFC 3261 section 10.3, step 5)."""

    def test_is_canonical(self) -> None:
        """Scheme, case of the host, port, parameters, headers, password and needless escapes make no difference."""
        for text in (
            "sip:alice@example.com", "sips:alice@EXAMPLE.com:5061;transport=tcp",
            "sip:%61lice:pw@example.com;user=phone?x=y",
        ):  # fmt: skip
            self.assertEqual(parse_sip_uri(text).address_of_record(), "sip:alice@example.com")

    def test_keeps_what_must_stay_escaped(self) -> None:
        """Unescaping must not make another address of it, nor cut it short at a NUL."""
        for text, aor in (
            ("sip:a%40b@c", "sip:a%40b@c"),
            ("sip:a%3ab@c", "sip:a%3Ab@c"),
            ("sip:a%00@c", "sip:a%00@c"),
            ("sip:*21#@c", "sip:*21%23@c"),
            ("sip:*21%23@c", "sip:*21%23@c"),
            ("sip:ü@c", "sip:%C3%BC@c"),
            ("sip:a%2541@c", "sip:a%2541@c"),
        ):
            self.assertEqual(parse_sip_uri(text).address_of_record(), aor)
            self.assertEqual(parse_sip_uri(aor).address_of_record(), aor)

    def test_writes_ipv6_in_one_way(self) -> None:
        """RFC 5954: two spellings of an address are one domain."""
        self.assertEqual(parse_sip_uri("sip:u@[2001:0db8::0:1]:5060").address_of_record(), "sip:u@[2001:db8::1]")
        self.assertEqual(parse_sip_uri("sip:example.com").address_of_record(), "sip:example.com")


class TelUriTests(SynchronousTestCase):
    """`tel` (RFC 3966)."""

    def test_takes_numbers(self) -> None:
        """Global and local numbers, separators and parameters are found, and printed as written."""
        uri = parse_uri("TEL:+1-201-555-0123;ext=12;Phone-Context=x")
        assert isinstance(uri, TelUri)
        self.assertEqual((uri.number, uri.digits, uri.is_global), ("+1-201-555-0123", "+12015550123", True))
        self.assertEqual(uri.parameters, {"ext": "12", "phone-context": "x"})
        self.assertEqual(str(uri), "TEL:+1-201-555-0123;ext=12;Phone-Context=x")
        local = parse_uri("tel:7042;phone-context=example.com")
        assert isinstance(local, TelUri)
        self.assertFalse(local.is_global)
        self.assertEqual(str(TelUri("110", {"phone-context": "+49"})), "tel:110;phone-context=+49")

    def test_compares_by_section_4(self) -> None:
        """Separators, case and order of parameters make no difference; any other difference does."""
        for one, other in (
            ("tel:+1-201-555-0123", "tel:+12015550123"),
            ("tel:+1;ext=1-2;isub=a", "tel:+1;isub=A;ext=12"),
            ("tel:7042;phone-context=+1-201", "tel:7042;phone-context=+1201"),
            ("tel:7042;phone-context=EXAMPLE.com", "tel:7042;phone-context=example.com"),
            ("tel:*a", "tel:*A"),
        ):
            self.assertEqual(parse_uri(one), parse_uri(other))
            self.assertEqual(hash(parse_uri(one)), hash(parse_uri(other)))
        for one, other in (
            ("tel:+12015550123", "tel:12015550123"),
            ("tel:+1", "tel:+1;ext=1"),
            ("tel:7042;phone-context=example.com", "tel:7042;phone-context=example-com"),
            ("tel:7042;phone-context=ex-ample.com", "tel:7042;phone-context=example.com"),
        ):
            self.assertNotEqual(parse_uri(one), parse_uri(other))

    def test_refuses_malformed_ones(self) -> None:
        """A number needs a digit and nothing but digits and separators; escapes must be whole."""
        for text in (
            "tel:",
            "tel:+",
            "tel:-.",
            "tel:12x",
            "tel:+1+2",
            "tel:1 2",
            "tel:1;ext=%",
            "tel:1;a=1;A=2",
            "tel:١",
        ):
            self.assertRaises(ParseError, parse_uri, text)


class OtherUriTests(SynchronousTestCase):
    """Schemes that are passed through."""

    def test_keeps_them_whole(self) -> None:
        """The scheme is known in lower case, the text stays."""
        uri = parse_uri("URN:service:sos")
        assert isinstance(uri, OtherUri)
        self.assertEqual((uri.scheme, str(uri)), ("urn", "URN:service:sos"))
        self.assertEqual(uri, parse_uri("URN:service:sos"))
        self.assertEqual(hash(uri), hash(parse_uri("URN:service:sos")))
        self.assertEqual(parse_uri("nobodyKnowsThisScheme:totallyopaquecontent").scheme, "nobodyknowsthisscheme")

    def test_is_no_sip_uri(self) -> None:
        """Where a SIP URI is needed another one is refused."""
        self.assertRaises(ParseError, parse_sip_uri, "urn:service:sos")
        self.assertRaises(ParseError, parse_sip_uri, "tel:1")


class CostTests(SynchronousTestCase):
    """Nothing a peer can write takes more than linear time."""

    def test_long_input_is_cheap(self) -> None:
        """64 KiB of the worst a URI can be is refused or taken in well under a second each."""
        size = 65536
        for text in (
            "tel:" + "1" * size + "!", "tel:" + "-" * size, "sip:" + "a" * size, "sip:" + "a:" * size,
            "sip:" + "[" * size,
            "sip:a@b" + ";" * size, "sip:a@b?" + "&" * size, "sip:" + "%41" * (size // 3) + "@b", "a" * size,
            "sip:a@[" + ":" * size + "]",
        ):  # fmt: skip
            start = time.process_time()
            try:
                uri = parse_uri(text)
                hash(uri)
                _ = uri == parse_uri(text)
            except ParseError:
                continue
            finally:
                self.assertLess(time.process_time() - start, 1.0, text[:10])
