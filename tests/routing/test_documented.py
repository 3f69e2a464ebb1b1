"""Tests that docs/routing-http.md is true: its examples are understood, its schema is that of the code."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

from twisted.trial.unittest import SynchronousTestCase

from sipd.daemon.sections.routing_http import RoutingHttp
from sipd.routing.http import KINDS
from sipd.routing.questions import Answer, AnsweredAttempt, question_of, read_answer
from sipd.routing.service import sign
from tests.routing.test_questions import asked

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "routing-http.md").read_text()


def blocks(language: str) -> list[str]:
    """Give the code blocks in that language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def without_noise(schema: Any) -> Any:
    """Give a schema without titles; what may be left out is not said to be possibly null, which nobody writes."""
    if isinstance(schema, list):
        return [without_noise(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "anyOf" in schema and schema.get("default", "") is None:
        (kind,) = [one for one in schema["anyOf"] if one != {"type": "null"}]
        return without_noise(kind)
    return {key: without_noise(value) for key, value in schema.items() if key != "title" or not isinstance(value, str)}


class DocumentTests(SynchronousTestCase):
    """The page."""

    def setUp(self) -> None:
        self.question, *self.answers, self.schema = map(json.loads, blocks("json"))

    def test_the_question(self) -> None:
        """The example has the keys of a real question, and the table names each of them."""
        real = question_of(asked(), ("X-Account",))
        self.assertEqual(list(self.question), list(real))
        self.assertEqual(self.question["source"].keys(), real["source"].keys())
        for key in real:
            self.assertIn(f"`{key}`", PAGE)

    def test_the_answers(self) -> None:
        """Each example of an answer is understood."""
        self.assertEqual(len(self.answers), 3)
        for answer in self.answers:
            read_answer(json.dumps(answer).encode())

    def test_the_schema(self) -> None:
        """The schema is that of the code, and the text names every key."""
        self.assertEqual(self.schema, without_noise(Answer.model_json_schema(by_alias=True)))
        for model in (Answer, AnsweredAttempt):
            for name, field in model.model_fields.items():
                self.assertIn(f"`{field.alias or name}`", PAGE)

    def test_the_signature(self) -> None:
        """The example of how to check a signature accepts what sipd sends, and nothing else."""
        (code,) = blocks("python")
        names: dict[str, Any] = {}
        exec(code, names)
        header = sign("secret", 1_795_300_000, b"{}")
        is_genuine = names["is_genuine"]
        self.assertTrue(is_genuine(b"secret", header, b"{}", 1_795_300_001.0))
        self.assertFalse(is_genuine(b"secret", header, b"[]", 1_795_300_001.0))
        self.assertFalse(is_genuine(b"other", header, b"{}", 1_795_300_001.0))
        self.assertFalse(is_genuine(b"secret", header, b"{}", 1_795_300_100.0))

    def test_failures_and_options(self) -> None:
        """Every kind of failure is explained, and every option that is named exists."""
        for kind in KINDS:
            if kind != "answered":
                self.assertIn(f"| `{kind}` |", PAGE)
        for option in (
            "timeout",
            "memory",
            "failures",
            "rest",
            "concurrency",
            "answer_size_octets",
            "fallback",
            "methods",
        ):
            self.assertIn(f"`{option}`", PAGE.replace('`fallback = "plan"`', "`fallback`"))
            self.assertIn(option, RoutingHttp.model_fields)
        for fallback in get_args(RoutingHttp.model_fields["fallback"].annotation):
            self.assertIn(f'"{fallback}"`', PAGE)
