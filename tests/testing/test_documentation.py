"""The examples of docs/testing.md are true."""

from __future__ import annotations

import doctest
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

DOCUMENT = Path(__file__).parents[2] / "docs" / "testing.md"


class DocumentationTests(SynchronousTestCase):
    """The page about testing."""

    def test_examples(self) -> None:
        """Every example gives what it says it gives."""
        output: list[str] = []
        parser = doctest.DocTestParser()
        # The end of a code block would count as output.
        text = DOCUMENT.read_text().replace("```python\n", "\n").replace("\n```\n", "\n\n")
        test = parser.get_doctest(text, {}, DOCUMENT.name, str(DOCUMENT), 0)
        self.assertGreater(len(test.examples), 20)
        results = doctest.DocTestRunner(verbose=False).run(test, out=output.append)
        self.assertEqual(results.failed, 0, "".join(output))
