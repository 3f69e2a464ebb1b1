"""What the document on policies says of presets is so."""

from __future__ import annotations

import doctest
import io
import re
import tomllib
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from sipd.daemon.config import build
from sipd.daemon.policies import make_policies
from sipd.daemon.values import Surroundings
from sipd.policies import PRESETS
from sipd.testing.policies import show_invite

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "policies.md"
CONFIGURATION = {
    "domains": ["example.com"],
    "state_directory": "state",
    "listen": [{"name": "u", "transport": "udp", "address": "192.0.2.1"}],
}


class DocumentTests(SynchronousTestCase):
    """docs/policies.md."""

    def test_examples(self) -> None:
        """Messages go in and come out as the document shows them."""
        text = re.sub(r"^```.*$", "", DOCUMENT.read_text(), flags=re.MULTILINE)
        test = doctest.DocTestParser().get_doctest(text, {}, DOCUMENT.name, str(DOCUMENT), 0)
        report = io.StringIO()
        result = doctest.DocTestRunner(verbose=False).run(test, out=report.write)
        self.assertEqual(report.getvalue(), "")
        self.assertGreater(result.attempted, 15)

    def test_every_preset_is_shown(self) -> None:
        """There is no preset without an INVITE and a refusal in the document."""
        text = DOCUMENT.read_text()
        for name in PRESETS:
            self.assertIn(f"### {name}\n", text)
            self.assertIn(f'show_invite(PRESETS["{name}"], INVITE)', text)
            self.assertIn(f'show_refusal(PRESETS["{name}"], BUSY)', text)

    def test_the_example_of_a_policy(self) -> None:
        """The first example is a configuration, and does what it says."""
        example = DOCUMENT.read_text().split("```toml\n")[1].split("```")[0]
        config = build(
            {**CONFIGURATION, **tomllib.loads(example)}, Surroundings(directory=Path(self.mktemp()), environment={})
        )
        policy = make_policies(config)["carrier"]
        shown = show_invite(policy, "INVITE sip:1@pbx.example.com\nFrom: <sip:030123@pbx.example.com>")
        self.assertIn("From: <sip:+4930123@pbx.example.com;user=phone>", shown)
        self.assertIn("X-Account: 030123", shown)
