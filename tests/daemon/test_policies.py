"""Policies in a configuration: what they become, whose they are, and mistakes in them."""

from __future__ import annotations

import re
from dataclasses import replace

from sipd.daemon import layers
from sipd.daemon.policies import make_policies, trunk_policies, user_policies
from sipd.daemon.routing import static_route
from sipd.daemon.trunks import trunk_settings
from sipd.policies import (
    PRESETS,
    AddressPolicy,
    CodecRule,
    DescriptionPolicy,
    EarlyMedia,
    HeaderAction,
    HeaderPolicy,
    HeaderRule,
    HistoryForStrangers,
    HoldForm,
    IdentityForm,
    LegPolicy,
    Messages,
    NumberRule,
    Phrases,
    ReasonForm,
    ReliablePolicy,
    StatusPolicy,
    StatusRule,
    Template,
    TransferPolicy,
)
from sipd.policies.text import compile_globs
from sipd.sip.session_timer import SessionTimerPolicy
from tests.daemon.case import MINIMAL, ConfigCase

EVERYTHING = """
[[policies]]
name = "all"
header_fields = { also = ["User-Agent"], only = ["X-*"], deny = ["X-Secret"] }
heard_header_fields = { deny = ["X-Cost"] }
header_rules = [
{ set = "X-A", value = "{user}", methods = ["invite"], messages = "requests" },
{ rewrite = "X-B", match = "a(b)", value = "{1}" },
{ remove = "X-C", heard = true },
]
status_rules = [
{ match = ["5xx"], status = 480, reason = "Later", said_cause = 41 },
{ match = ["503"], cause = 34, status = 486, heard = true },
]
phrases = "standard"
reasons = "q850"
number_rules = [{ match = "0(.*)", value = "+49{1}" }]
codec_rules = [{ kind = "*", allow = ["PCMA"], deny = ["cn"], order = ["pcma"] }]
early_media = "183->180"
reliable = "required"
session = 600
session_minimum = 300
transfer = "refuse"
trusted = true
form = "rpid"
anonymise = false
tell_strangers = true
history = "pass"
user_agent = "PBX"
address_form = { phone = true, domain = "pbx.example", own_domain = true, names = false, anonymous_from = true, to_is_target = true }

[policies.description]
kinds = ["audio"]
denied_kinds = ["image"]
ptime = 20
maxptime = 40
attributes = ["ptime"]
denied_attributes = ["x-*"]
bandwidth = 0
bare = true
hold = "inactive"
"""  # noqa: E501 - TOML wants an inline table on one line


class PolicyTests(ConfigCase):
    """What sections become."""

    def policy(self, text: str) -> LegPolicy:
        """Give the policy called `p`."""
        return make_policies(self.load(f'{MINIMAL}\n[[policies]]\nname = "p"\n{text}'))["p"]

    def test_everything(self) -> None:
        """Each key does what it says."""
        made = make_policies(self.load(MINIMAL + EVERYTHING))["all"]
        expected = LegPolicy(
            name="all",
            headers=HeaderPolicy(
                also=("User-Agent",),
                only=("X-*",),
                deny=("X-Secret",),
                rules=(
                    HeaderRule(
                        action=HeaderAction.SET,
                        name="X-A",
                        value=Template("{user}"),
                        methods=frozenset(("INVITE",)),
                        messages=Messages.REQUESTS,
                    ),
                    HeaderRule(
                        action=HeaderAction.REWRITE, name="X-B", value=Template("{1}"), pattern=re.compile("a(b)")
                    ),
                ),
            ),
            heard_headers=HeaderPolicy(deny=("X-Cost",), rules=(HeaderRule(action=HeaderAction.REMOVE, name="X-C"),)),
            statuses=StatusPolicy(
                rules=(StatusRule(matches=("5xx",), status=480, reason="Later", said_cause=41),),
                phrases=Phrases.STANDARD,
                reasons=ReasonForm.Q850,
            ),
            heard_statuses=StatusPolicy(rules=(StatusRule(matches=("503",), cause=34, status=486),)),
            addresses=AddressPolicy(
                numbers=(NumberRule(pattern=re.compile("0(.*)"), value=Template("+49{1}")),),
                is_phone=True,
                domain="pbx.example",
                has_own_domain=True,
                has_name=False,
                hides_from=True,
                to_is_target=True,
            ),
            description=DescriptionPolicy(
                kinds=frozenset(("audio",)),
                denied_kinds=frozenset(("image",)),
                codecs=(CodecRule(kind="*", allow=("pcma",), deny=("cn",), order=("pcma",)),),
                ptime=20,
                maxptime=40,
                attributes=compile_globs(["ptime"]),
                denied_attributes=compile_globs(["x-*"]),
                bandwidth=0,
                is_bare=True,
                hold=HoldForm.INACTIVE,
            ),
            early_media=EarlyMedia.AS_180,
            reliable=ReliablePolicy.REQUIRED,
            session_timer=SessionTimerPolicy(interval=600, minimum=300),
            transfer=TransferPolicy.REFUSE,
            trusted=True,
            form=IdentityForm.RPID,
            anonymises=False,
            tells_strangers=True,
            history=HistoryForStrangers.PASS,
            user_agent="PBX",
        )
        self.assertEqual(made, expected)

    def test_nothing(self) -> None:
        """A policy that says nothing is one that changes nothing."""
        self.assertEqual(self.policy(""), LegPolicy(name="p"))

    def test_presets(self) -> None:
        """A preset by itself is what it is; presets can be named without a section."""
        for name, preset in PRESETS.items():
            made = self.policy(f'preset = "{name}"')
            self.assertEqual(made, replace(preset, name="p"), name)
        self.assertIs(make_policies(self.load(MINIMAL))["hide"], PRESETS["hide"])

    def test_preset_and_more(self) -> None:
        """What is said besides comes before the preset, or with it."""
        made = self.policy(
            'preset = "sipconnect"\ntrusted = false\nheader_fields = { deny = [] }\n'
            'header_rules = [{ set = "X-A", value = "1" }]\nnumber_rules = [{ match = "1", value = "2" }]\n'
            "description = { ptime = 30 }\naddress_form = { phone = false }\n"
        )
        base = PRESETS["sipconnect"]
        assert base.addresses is not None and base.description is not None and made.headers is not None
        assert made.addresses is not None and made.description is not None
        self.assertEqual((made.trusted, made.form, made.statuses), (False, base.form, base.statuses))
        self.assertEqual((made.headers.deny, len(made.headers.rules)), ((), 1))
        self.assertEqual([rule.value.text for rule in made.addresses.numbers], ["2", "+{1}"])
        self.assertEqual((made.addresses.is_phone, made.addresses.hides_from), (False, True))
        self.assertEqual((made.description.ptime, made.description.kinds), (30, frozenset(("audio",))))

    def test_session_timers(self) -> None:
        """What is left out is as for all legs; 0 asks for none; the wish is not below the minimum."""
        for text, expected in (
            ("", None),
            ("session = 0", SessionTimerPolicy(interval=None, minimum=100)),
            ("session_minimum = 3000", SessionTimerPolicy(interval=3000, minimum=3000)),
            ("session = 200", SessionTimerPolicy(interval=200, minimum=100)),
        ):
            config = self.load(f'{MINIMAL}\n[timers]\nsession_minimum = 100\n[[policies]]\nname = "p"\n{text}')
            self.assertEqual(make_policies(config)["p"].session_timer, expected, text)

    def test_whose(self) -> None:
        """Users, trunks and routes have the policies that they name."""
        config = self.load(
            f"""{MINIMAL}
            [[users]]
            name = "a"
            password = "x"
            policy = "hide"
            [[users]]
            name = "b"
            password = "x"
            [[trunks]]
            name = "t"
            servers = ["sip:192.0.2.9"]
            policy = "p"
            [[routes]]
            name = "r"
            to = "sip:x@192.0.2.9"
            policy = "p"
            caller_policy = "transparent"
            [[routes]]
            name = "s"
            to = "sip:x@192.0.2.9"
            [[policies]]
            name = "p"
            trusted = true
            """
        )
        policies = make_policies(config)
        self.assertEqual(user_policies(config, policies), {"a": PRESETS["hide"]})
        self.assertEqual(trunk_policies(config, policies), {"t": policies["p"]})
        self.assertEqual([trunk.policy for trunk in trunk_settings(config)], [policies["p"]])
        routes = [static_route(rule, config) for rule in config.routes]
        self.assertEqual([route.policy for route in routes], [policies["p"], None])
        self.assertEqual([route.caller_policy for route in routes], [PRESETS["transparent"], None])

    def test_referrals(self) -> None:
        """REFER is understood where one leg may send it, though others may not."""
        text = MINIMAL + '\n[transfer]\npolicy = "refuse"\n[[users]]\nname = "a"\npassword = "x"\n'
        self.assertFalse(layers.agent_settings(self.load(text)).takes_referrals)
        self.assertTrue(layers.agent_settings(self.load(text + 'policy = "transparent"\n')).takes_referrals)
        self.assertFalse(layers.agent_settings(self.load(text + 'policy = "sipconnect"\n')).takes_referrals)


class MistakeTests(ConfigCase):
    """What is refused, and how it is said."""

    def mistakes(self, text: str) -> list[str]:
        """Give the lines about a policy."""
        return self.problems(f'{MINIMAL}\n[[policies]]\nname = "p"\n{text}')

    def test_table(self) -> None:
        """Each mistake is named with the place where it is."""
        bound = "a header field expected that no leg needs for itself"
        line = "one line without control characters expected"
        choice = "one of set, add, remove and rewrite expected"
        presets = "one of transparent, hide, sipconnect, telnyx, cm, teams expected"
        glob = "a name in which * and ? may stand for others expected"
        pattern = "a regular expression expected: missing ), unterminated subpattern at position 0"
        for key, value, where, expected in (
            ("preset", '"x"', "", f'{presets} (got "x")'),
            ("header_rules", '[{ set = "Via", value = "x" }]', "[0]", f"{bound} (got Via)"),
            ("header_rules", '[{ set = "v", value = "x" }]', "[0]", f"{bound} (got v)"),
            ("header_rules", '[{ set = "X-A", value = "a\\r\\nVia: b" }]', "[0]", line),
            ("header_rules", '[{ set = "X-A", value = "{usr}" }]', "[0]",
             "{usr} stands for nothing here; there are: user, source, call_id, from, to, method"),
            ("header_rules", '[{ value = "x" }]', "[0]", choice),
            ("header_rules", '[{ set = "A", remove = "B" }]', "[0]", choice),
            ("header_rules", '[{ set = "A" }]', "[0]", "a value expected, but not beside remove"),
            ("header_rules", '[{ rewrite = "A", value = "b" }]', "[0]",
             "an expression expected beside rewrite, and beside nothing else"),
            ("header_rules", '[{ set = "A", value = "b", methods = ["A B"] }]', "[0].methods[0]",
             'a method such as "INVITE" expected (got "A B")'),
            ("header_fields", '{ deny = ["a b"] }', ".deny[0]", f"{glob} (got 'a b')"),
            ("status_rules", '[{ match = ["200"] }]', "[0]",
             "provisional statuses from 101, or refusals from 300, expected"),
            ("status_rules", '[{ match = ["486"], status = 407 }]', "[0]",
             "a refusal from 400 that needs no header field of its own expected (got 407)"),
            ("status_rules", '[{ match = ["486"], reason = "a\\nb" }]', "[0].reason", line),
            ("status_rules", "[{ match = [] }]", "[0].match", "at least 1 entry expected"),
            ("number_rules", '[{ match = "a", value = "{1}" }]', "[0]", "{1} stands for nothing here; there are: 0"),
            ("number_rules", '[{ match = "(", value = "" }]', "[0].match", f'{pattern} (got "(")'),
            ("user_agent", '"a\\nb"', "", line),
            ("transfers", '"pass"', "", 'unknown key; did you mean "transfer"?'),
        ):  # fmt: skip
            mistakes = self.mistakes(f"{key} = {value}")
            self.assertEqual(mistakes[:1], [f"policies[0].{key}{where}: {expected}"], value)

    def test_unknown_names(self) -> None:
        """A policy that there is not is named where it is asked for, with those that there are."""
        text = f"""{MINIMAL}
        [[users]]
        name = "a"
        password = "x"
        policy = "hid"
        [[routes]]
        name = "r"
        to = "sip:x@192.0.2.9"
        policy = "mine"
        caller_policy = "yours"
        [[policies]]
        name = "mine"
        """
        known = "there are: mine, transparent, hide, sipconnect, telnyx, cm, teams"
        expected = "the name of a policy, or of a preset, expected (got"
        self.assert_problem(
            text,
            f'users[0].policy: {expected} "hid"); {known}',
            f'routes[0].caller_policy: {expected} "yours"); {known}',
        )

    def test_same_names(self) -> None:
        """Two policies cannot have one name."""
        text = f'{MINIMAL}\n[[policies]]\nname = "p"\n[[policies]]\nname = "p"\n'
        self.assert_problem(text, 'policies[1].name: a name of its own expected (policies[0] is "p" too)')
