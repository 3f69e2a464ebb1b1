"""Header field values: what parses, what is refused, what is printed."""

from __future__ import annotations

import time
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import ParseError
from sipd.sip.fields import AuthParameters, CSeq, NameAddr, RAck, Via, media_type
from sipd.sip.uri import SipUri, TelUri, parse_uri


class ViaTests(SynchronousTestCase):
    """Via (RFC 3261 section 20.42, RFC 3581)."""

    def test_takes_a_value_apart(self) -> None:
        """Transport, sent-by and parameters are found; the text is kept."""
        text = "SIP/2.0/UDP Proxy.Example.com:5070;branch=z9hG4bK87a;received=192.0.2.1;rport=5099;x"
        via = Via.parse(text)
        self.assertEqual((via.transport, via.host, via.port), ("UDP", "proxy.example.com", 5070))
        self.assertEqual((via.branch, via.received, via.rport), ("z9hG4bK87a", "192.0.2.1", "5099"))
        self.assertEqual(via.parameters["x"], None)
        self.assertEqual(via.sent_by, "proxy.example.com:5070")
        self.assertEqual(str(via), text)

    def test_takes_white_space_anywhere(self) -> None:
        """RFC 4475 section 3.1.1.1: white space may stand around every separator."""
        via = Via.parse("SIP  / 2.0  / tcp     spindle.example.com  : 5060 ;  branch  =   z9hG4bK9ikj8 ; rport")
        self.assertEqual((via.transport, via.host, via.port), ("TCP", "spindle.example.com", 5060))
        self.assertEqual((via.branch, via.rport), ("z9hG4bK9ikj8", ""))
        self.assertEqual(Via.parse("sip/2.0/UDP\th ;branch=").branch, "")

    def test_takes_transports_nobody_knows(self) -> None:
        """RFC 4475 section 3.1.1.10: any token is a transport."""
        self.assertEqual(Via.parse("SIP/2.0/TLS-SCTP h").transport, "TLS-SCTP")
        self.assertEqual(Via.parse("SIP/2.0/unknown h").transport, "UNKNOWN")

    def test_takes_ipv6(self) -> None:
        """RFC 5118 sections 4.2 and 4.5: sent-by in brackets, received with or without them."""
        via = Via.parse("SIP/2.0/UDP [2001:DB8::9:1]:6060;received=[2001:db8::9:255];branch=z9hG4bKas3")
        self.assertEqual((via.host, via.port, via.received), ("2001:db8::9:1", 6060, "2001:db8::9:255"))
        self.assertEqual(via.sent_by, "[2001:db8::9:1]:6060")
        self.assertEqual(Via.parse("SIP/2.0/UDP [::1];received=2001:db8::9:255").received, "2001:db8::9:255")
        self.assertEqual(str(Via("UDP", "::1", None, {"rport": None})), "SIP/2.0/UDP [::1];rport")

    def test_tells_absent_from_empty(self) -> None:
        """A branch that is absent is empty text; rport may be absent, asked for, or answered."""
        via = Via.parse("SIP/2.0/UDP h")
        self.assertEqual((via.branch, via.received, via.rport, via.port), ("", None, None, None))
        self.assertEqual(Via.parse("SIP/2.0/UDP h;rport").rport, "")
        self.assertEqual(Via.parse("SIP/2.0/UDP h;rport=").rport, "")

    def test_adds_parameters_to_a_copy(self) -> None:
        """The copy is printed anew, the original stays as it was."""
        via = Via.parse("SIP/2.0/UDP h ;branch=b;rport")
        copy = via.with_parameter("rport", "5060").with_parameter("received", "192.0.2.1")
        self.assertEqual(str(copy), "SIP/2.0/UDP h;branch=b;rport=5060;received=192.0.2.1")
        self.assertEqual(str(via), "SIP/2.0/UDP h ;branch=b;rport")

    def test_compares_by_value(self) -> None:
        """Two spellings of the same value are equal; another parameter makes another value."""
        one, other = Via.parse("SIP/2.0/UDP h;branch=b"), Via.parse("SIP / 2.0/udp  H ; Branch = b")
        self.assertEqual(one, other)
        self.assertEqual(hash(one), hash(other))
        self.assertNotEqual(one, Via.parse("SIP/2.0/UDP h;branch=c"))
        self.assertNotEqual(one, "SIP/2.0/UDP h;branch=b")

    def test_reads_any_version(self) -> None:
        """A request of an unknown version is refused at the address in its Via, so that is read (RFC 4475 3.1.2.16)."""
        via = Via.parse("SIP/7.0/UDP c.example.com;branch=z9hG4bKx")
        self.assertEqual((via.transport, via.host, via.branch), ("UDP", "c.example.com", "z9hG4bKx"))

    def test_refuses_malformed_ones(self) -> None:
        """Wrong protocol, no version, bad sent-by, bad port, and white space that only Unicode knows."""
        for text in (
            "", "SIP/2.0/UDP", "SIP/2.0/UDP ", "SIP/2.0/UDP ;branch=b", "SIP/2.0/ h", "SIP/3/UDP h", "HTTP/2.0/UDP h",
            "SIP/2.0/UDPh", "SIP/2.0/UDP h:", "SIP/2.0/UDP h:x", "SIP/2.0/UDP h:65536", "SIP/2.0/UDP h:123456",
            "SIP/2.0/UDP h h", "SIP/2.0/UDP h,h", "SIP/2.0/UDP [::1", "SIP/2.0/UDP ::1", "SIP/2.0/UDP [:::]",
            "SIP/2.0/UDP h;a=1;a=2", "SIP/2.0/UDP h;=1", "SIP/2.0/UDP h x;branch=b", "SIP/2.0/U P h", "SIP/2.0/UDP é",
            "SIP\xa0/2.0/UDP h", "SIP/2.0/UDP\x0bh", "SIP/2.0/UDP h\x85", "\u017fIP/2.0/UDP h", "SIP/2.0/UDP \u212a",
        ):  # fmt: skip
            self.assertRaises(ParseError, Via.parse, text)


class NameAddrTests(SynchronousTestCase):
    """From, To, Contact, Route and their like (RFC 3261 section 20.10)."""

    def check(self, text: str, display_name: str, uri: str, parameters: dict[str, str | None]) -> None:
        """Assert what a text says, and that it prints itself."""
        address = NameAddr.parse(text)
        self.assertEqual(address.display_name, display_name, text)
        self.assertEqual(str(address.uri), uri)
        self.assertEqual(address.parameters, parameters)
        self.assertEqual(str(address), text)

    def test_a_tag_without_a_value(self) -> None:
        """It is a tag that nobody gave: not the same as no tag, or a response would get a second one."""
        self.assertEqual(NameAddr.parse("<sip:a@b>;tag").tag, "")
        self.assertIsNone(NameAddr.parse("<sip:a@b>").tag)

    def test_takes_names_in_brackets(self) -> None:
        """Display name, URI and parameters are found, however they are spaced."""
        alice = "sip:alice@example.com"
        self.check(f"<{alice}>", "", alice, {})
        self.check(f'"Alice" <{alice};lr>;tag=1', "Alice", f"{alice};lr", {"tag": "1"})
        self.check(f"caller<{alice}>;tag=323", "caller", alice, {"tag": "323"})
        self.check(f"Alice  B. Toklas\t<{alice}> ;  tag = 1", "Alice  B. Toklas", alice, {"tag": "1"})
        self.check(f'"" <{alice}>', "", alice, {})
        self.check(f'"J \\\\\\"" <{alice}>;x="a;b>"', 'J \\"', alice, {"x": '"a;b>"'})
        self.check(f'"a <b>, c;d" <{alice}>;q=0.1;lr', "a <b>, c;d", alice, {"q": "0.1", "lr": None})
        self.check(f"Jürgen (Büro) +1/2 <{alice}>", "Jürgen (Büro) +1/2", alice, {})
        self.check("<sip:a@b?Route=%3Csip:c%3E>;x", "", "sip:a@b?Route=%3Csip:c%3E", {"x": None})

    def test_takes_bare_addresses(self) -> None:
        """Without brackets all that follows a semicolon belongs to the header field (section 20, RFC 4475 3.3.12)."""
        self.check("sip:a@b;tag=1", "", "sip:a@b", {"tag": "1"})
        self.check("sip:vivekg@h ;   tag    = 19", "", "sip:vivekg@h", {"tag": "19"})
        self.check("tel:+1-2;ext=3", "", "tel:+1-2", {"ext": "3"})
        self.check('sip:a@b;+sip.instance="<urn:uuid:1>"', "", "sip:a@b", {"+sip.instance": '"<urn:uuid:1>"'})
        self.check("isbn:2983792873;tag=4", "", "isbn:2983792873", {"tag": "4"})

    def test_keeps_escapes_and_strange_parameters(self) -> None:
        """RFC 4475 section 3.1.1.2: parameter names and tags of every token character, quoted UTF-8."""
        self.check(
            "token1~` token2'+_ token3*%!.- <sip:m@h>;fromparam''~+*_!.-%=\"работающий\";tag=_token~1'+`*%!-.",
            "token1~` token2'+_ token3*%!.-",
            "sip:m@h",
            {"fromparam''~+*_!.-%": '"работающий"', "tag": "_token~1'+`*%!-."},
        )

    def test_refuses_malformed_ones(self) -> None:
        """RFC 4475 sections 3.1.2.6, 3.1.2.13 to 3.1.2.15, and other ways of not being an address."""
        for text in (
            "", "*", "<>", "<sip:a@b", "<sip:a@example.com", "x <sip:a@example.com;tag=1", "<sip:a@bc" + "d" * 300,
            "sip:a@b>", '"a <sip:a@b>', '"a" b <sip:a@b>', 'a "b" <sip:a@b>', '"a"',
            "< sip:a@b >", "<sip:a@b> x", "<sip:a@b>tag=1", "<sip:a@b><sip:c@d>", "<<sip:a@b>>", "<sip:<a@b>",
            "Bell, A <sip:a@b>", "a;b <sip:a@b>", "a:b <sip:a@b>", "a\\b <sip:a@b>", "a\x01 <sip:a@b>",
            "sip:a@b?x=y", "sip:a@b,c", "sip:a@b c", "<sip:a@b>;tag=1;tag=2", "<sip:a@b>;tag=1, <sip:c@d>",
            "<sip:a@b>;é=1", "<sip:a@b>;tag=a b", "<sip:a@b\r\n>", "<nonsense>", '"a\\"<sip:a@b>',
        ):  # fmt: skip
            self.assertRaises(ParseError, NameAddr.parse, text)

    def test_prints_names_that_need_quotes(self) -> None:
        """A name that is no token is quoted, so that nothing in it can be taken for structure."""
        uri = parse_uri("sip:a@b")
        for name, text in (
            ("", "<sip:a@b>"),
            ("Alice", "Alice <sip:a@b>"),
            ("A B", '"A B" <sip:a@b>'),
            ('"><sip:evil@x>', '"\\"><sip:evil@x>" <sip:a@b>'),
            ("\\", '"\\\\" <sip:a@b>'),
        ):
            address = NameAddr(uri, name, {"tag": "1"})
            self.assertEqual(str(address), text + ";tag=1")
            self.assertEqual(NameAddr.parse(str(address)), address)

    def test_tags_a_copy(self) -> None:
        """`with_tag` replaces a tag or adds one; `without_parameters` leaves the address alone."""
        address = NameAddr.parse("Bob <sip:b@h;lr>;x=1")
        self.assertIsNone(address.tag)
        self.assertEqual(str(address.with_tag("t")), "Bob <sip:b@h;lr>;x=1;tag=t")
        self.assertEqual(str(address.with_tag("t").with_tag("u")), "Bob <sip:b@h;lr>;x=1;tag=u")
        self.assertEqual(str(address.without_parameters()), "Bob <sip:b@h;lr>")
        self.assertEqual(str(NameAddr.parse("sip:a@b").without_parameters()), "sip:a@b")
        self.assertIsNone(address.tag)

    def test_reads_q(self) -> None:
        """The preference is 1.0 where it is absent, and nothing but 0 to 1 with three digits (section 25.1)."""
        self.assertEqual(NameAddr.parse("<sip:a@b>").q, 1.0)
        for text, value in (("0", 0.0), ("0.5", 0.5), ("1", 1.0), ("1.000", 1.0), ("0.", 0.0), ("0.333", 0.333)):
            self.assertEqual(NameAddr.parse(f"<sip:a@b>;q={text}").q, value)
        for text in ("", "2", "1.1", "-1", "0.1234", "nan", "1e-1", ".5"):
            address = NameAddr.parse(f"<sip:a@b>;q={text}")
            self.assertRaises(ParseError, getattr, address, "q")

    def test_reads_expires(self) -> None:
        """A malformed `expires` counts as 3600 (section 20.10), one that is too large as the largest there is."""
        self.assertIsNone(NameAddr.parse("<sip:a@b>").expires)
        for text, value in (
            ("0", 0), ("60", 60), ("280297596632815", 2**32 - 1), ("9" * 5000, 2**32 - 1),
            ("x", 3600), ("", 3600), ("-1", 3600),
        ):  # fmt: skip
            self.assertEqual(NameAddr.parse(f"<sip:a@b>;expires={text}").expires, value)

    def test_compares_by_value(self) -> None:
        """Spelling makes no difference where it has no meaning."""
        one, other = NameAddr.parse('"Al" <sip:%61@B>;TAG=1'), NameAddr.parse("Al<sip:a@b> ; tag=1")
        self.assertEqual(one, other)
        self.assertEqual(hash(one), hash(other))
        self.assertNotEqual(one, NameAddr.parse("Al<sip:a@b> ; tag=2"))
        self.assertNotEqual(one, str(one))

    def test_holds_any_uri(self) -> None:
        """The URI is of the kind that its scheme says."""
        self.assertIsInstance(NameAddr.parse("<tel:+1>").uri, TelUri)
        self.assertIsInstance(NameAddr.parse("<sips:a@b>").uri, SipUri)


class CSeqTests(SynchronousTestCase):
    """CSeq (RFC 3261 section 20.16)."""

    def test_takes_number_and_method(self) -> None:
        """The number may have leading zeros, the method is case-sensitive."""
        cseq = CSeq.parse("0009 \t INVITE")
        self.assertEqual((cseq.number, cseq.method), (9, "INVITE"))
        self.assertEqual(str(cseq), "9 INVITE")
        self.assertEqual(cseq, CSeq(9, "INVITE"))
        self.assertEqual(hash(cseq), hash(CSeq(9, "INVITE")))
        self.assertNotEqual(cseq, CSeq(9, "invite"))
        self.assertEqual(CSeq.parse("4294967295 X").number, 2**32 - 1)

    def test_gives_that_of_the_ack(self) -> None:
        """An ACK or CANCEL has the number of its INVITE (sections 9.1 and 13.2.2.4)."""
        self.assertEqual(str(CSeq(7, "INVITE").with_method("ACK")), "7 ACK")

    def test_refuses_malformed_ones(self) -> None:
        """RFC 4475 section 3.1.2.4: nothing above 32 bits."""
        for text in (
            "",
            "1",
            "INVITE",
            "1INVITE",
            "-1 INVITE",
            "4294967296 X",
            "9" * 5000 + " X",
            "1 IN VITE",
            "1 X ",
            "١ X",
        ):
            self.assertRaises(ParseError, CSeq.parse, text)


class RAckTests(SynchronousTestCase):
    """RAck (RFC 3262 section 7.2)."""

    def test_takes_both_numbers_and_the_method(self) -> None:
        """Response number, then what the response answered."""
        rack = RAck.parse("776656 1 INVITE")
        self.assertEqual((rack.rseq, rack.cseq.number, rack.cseq.method), (776656, 1, "INVITE"))
        self.assertEqual(str(rack), "776656 1 INVITE")
        self.assertEqual(rack, RAck(776656, CSeq(1, "INVITE")))
        self.assertEqual(hash(rack), hash(RAck(776656, CSeq(1, "INVITE"))))

    def test_refuses_malformed_ones(self) -> None:
        """Two numbers of 32 bits and a token, nothing else."""
        for text in ("", "1", "1 2", "1 INVITE", "1 2 3 X", "x 1 INVITE", "4294967296 1 X", "1 4294967296 X", "-1 1 X"):
            self.assertRaises(ParseError, RAck.parse, text)


class AuthParametersTests(SynchronousTestCase):
    """Challenges and credentials (RFC 3261 section 22, RFC 7616)."""

    def test_takes_a_challenge(self) -> None:
        """Names are in lower case, quotes are undone, commas in quotes separate nothing."""
        challenge = AuthParameters.parse(
            'Digest Realm="a, \\"b\\"" ,qop="auth,auth-int",, nonce="x=" , stale=FALSE,opaque=""'
        )
        self.assertEqual(challenge.scheme, "Digest")
        self.assertEqual(
            challenge.parameters,
            {"realm": 'a, "b"', "qop": "auth,auth-int", "nonce": "x=", "stale": "FALSE", "opaque": ""},
        )
        self.assertEqual(AuthParameters.parse(str(challenge)), challenge)

    def test_takes_white_space_of_any_kind(self) -> None:
        """A tab separates as well as a space."""
        self.assertEqual(AuthParameters.parse(' Digest\t username\t= "a"').parameters, {"username": "a"})

    def test_takes_other_schemes(self) -> None:
        """RFC 4475 section 3.3.7 and RFC 8898: a scheme that nobody speaks here, and a bare token, parse."""
        self.assertEqual(
            AuthParameters.parse("NoOneKnowsThisScheme opaque-data=here").parameters, {"opaque-data": "here"}
        )
        bearer = AuthParameters.parse("Bearer aGVs/bG8+.x==")
        self.assertEqual((bearer.scheme, bearer.parameters, bearer.token), ("Bearer", {}, "aGVs/bG8+.x=="))
        self.assertEqual(str(bearer), "Bearer aGVs/bG8+.x==")
        self.assertEqual(str(AuthParameters.parse("Negotiate")), "Negotiate")

    def test_quotes_what_must_be_quoted(self) -> None:
        """The qop is a quoted list in a challenge and a token in credentials (RFC 7616 sections 3.3 and 3.4)."""
        self.assertEqual(
            str(AuthParameters("Digest", {"realm": "r", "qop": "auth", "algorithm": "SHA-256", "stale": "true"})),
            'Digest realm="r", qop="auth", algorithm=SHA-256, stale=true',
        )
        self.assertEqual(
            str(AuthParameters("Digest", {"qop": "auth", "nc": "00000001", "response": "ab", "userhash": "false"})),
            'Digest qop=auth, nc=00000001, response="ab", userhash=false',
        )

    def test_no_value_can_add_a_parameter(self) -> None:
        """What is no token is quoted even where a token usually stands."""
        text = str(AuthParameters("Digest", {"algorithm": 'MD5, realm="x"', "nc": ""}))
        self.assertEqual(AuthParameters.parse(text).parameters, {"algorithm": 'MD5, realm="x"', "nc": ""})

    def test_compares_schemes_in_any_case(self) -> None:
        """`digest` is `Digest`."""
        self.assertEqual(AuthParameters("digest", {"a": "1"}), AuthParameters("Digest", {"a": "1"}))
        self.assertEqual(hash(AuthParameters("digest", {})), hash(AuthParameters("Digest", {})))
        self.assertNotEqual(AuthParameters("Digest", {"a": "1"}), AuthParameters("Digest", {"a": "2"}))

    def test_refuses_malformed_ones(self) -> None:
        """No scheme, open quotes, a name given twice or none at all."""
        for text in (
            "", " ", '"x"', "Dig,est", 'Digest a="', "Digest a=1,a=2", "Digest a=1,A=2", "Digest =1", "Digest a b=1",
            'Digest a="b"c', "Digest a=b c", "Digest a, b=1", "Digest a=<b>",
        ):  # fmt: skip
            self.assertRaises(ParseError, AuthParameters.parse, text)


class MediaTypeTests(SynchronousTestCase):
    """Content-Type (RFC 3261 section 20.15)."""

    def test_gives_type_and_subtype(self) -> None:
        """In lower case, without parameters or white space."""
        self.assertEqual(media_type("Application / SDP ; charset=utf-8"), "application/sdp")
        self.assertEqual(media_type('multipart/mixed;boundary="a/b"'), "multipart/mixed")

    def test_refuses_what_is_none(self) -> None:
        """Both halves must be tokens."""
        for text in ("", "sdp", "/", "a/", "/a", "a/b/c", "a b/c", "a/b, c/d"):
            self.assertRaises(ParseError, media_type, text)


class CostTests(SynchronousTestCase):
    """Nothing a peer can write takes more than linear time."""

    def test_long_input_is_cheap(self) -> None:
        """64 KiB of the worst that each value can meet is dealt with in well under a second."""
        size = 65536
        blank = " " * size
        parsers: tuple[tuple[Callable[[str], object], tuple[str, ...]], ...] = (
            (
                Via.parse,
                ("SIP/2.0/UDP h" + blank + "x", "SIP" + blank + "/x", "SIP/2.0/UDP" + blank,
                 "SIP/2.0/UDP h:" + blank + "x", "SIP/2.0/UDP " + "h" * size + " x", "SIP/2.0/UDP " + "h:" * size,
                 "SIP/2.0/UDP [" + ":" * size + "]"),
            ),
            (
                NameAddr.parse,
                ("a" + blank + "b", "a" + blank + "<", '"a"' + blank + "x", '"' + "\\a" * size, "<" * size, ">" * size,
                 "a" + blank + "<sip:a@b>" + blank + "x", "<sip:a@b>" + ";" * size, "a " * size + "<sip:a@b>"),
            ),
            (CSeq.parse, ("1" * size, "1" + blank, "1" + blank + "é")),
            (RAck.parse, ("1 " * size, "1" + blank, "1" + blank + "1" + blank)),
            (AuthParameters.parse, ("Digest " + "," * size, "Digest a=" + blank + "x", "Digest " + 'a"",' * size,
                                    "A" + blank)),
            (media_type, ("a" + blank + "/" + blank, "/" * size)),
        )  # fmt: skip
        for parse, texts in parsers:
            for text in texts:
                start = time.process_time()
                try:
                    str(parse(text))
                except ParseError:
                    continue
                finally:
                    self.assertLess(time.process_time() - start, 1.0, text[:20].strip())
