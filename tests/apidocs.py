"""What pydoctor has to know of this tree beside its section of setup.cfg: dataclasses, and what docstrings look like.

`System` is what it builds from, and `Checking` reads all docstrings as a build does and writes no page.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from pydoctor import model
from pydoctor.epydoc.markup import _napoleon
from pydoctor.epydoc2stan import format_docstring
from pydoctor.extensions import ClassMixin, ExtRegistrar
from pydoctor.napoleon.docstring import Field, GoogleDocstring
from pydoctor.templatewriter import TemplateWriter
from typing_extensions import override


class Docstring(GoogleDocstring):  # type: ignore[misc]
    """A docstring in Google style. Types are in annotations: what stands before a colon is not one."""

    @override
    def _consume_returns_section(self) -> list[Field]:
        """Take all of a "Returns" section for its text."""
        text = self.__class__(self._dedent(self._consume_to_next_section())).lines()
        return [Field(name="", type="", content=text, lineno=self._line_iter.counter)]

    @override
    def _consume_inline_attribute(self) -> tuple[str, list[str]]:
        """Take all of an attribute's docstring for its text."""
        return "", self.__class__(self._consume_to_end()).lines()

    @override
    def _escape_args_and_kwargs(self, name: str) -> str:
        """Keep an argument such as `from_` from being a reference."""
        escaped = str(super()._escape_args_and_kwargs(name))
        return escaped[:-1] + r"\_" if escaped.endswith("_") else escaped


class DataclassArguments(model.Class, ClassMixin):  # type: ignore[misc]
    """A class, of which `Args` may name the fields if it is a dataclass."""

    @property
    @override
    def constructor_params(self) -> Mapping[str, Any]:
        """Names of the constructor's arguments, each with its annotation as far as it is known."""
        written: Mapping[str, Any] = super().constructor_params
        if written or all(name != "dataclasses.dataclass" for name, _ in self.decorators):
            return written
        return {
            name: getattr(cls.contents.get(name), "annotation", None)
            for cls in reversed(self.mro())
            for name in cls.localNames()
        }


def setup_pydoctor_extension(registrar: ExtRegistrar) -> None:
    """Take part in the making of a system."""
    _napoleon.GoogleDocstring = Docstring
    registrar.register_mixin(DataclassArguments)


class System(model.System):  # type: ignore[misc]
    """Everything that is documented."""

    custom_extensions: ClassVar[list[str]] = ["tests.apidocs"]


class Checking(TemplateWriter):  # type: ignore[misc]
    """Reads what is documented, for the warnings alone."""

    @override
    def prepOutputDirectory(self) -> None:
        """Need no directory."""

    @override
    def writeSummaryPages(self, system: model.System) -> None:
        """Write none."""

    @override
    def writeIndividualFiles(self, obs: Iterable[model.Documentable]) -> None:
        """Read the docstrings of these and of what they contain."""
        for documented in obs:
            if documented.isVisible:
                format_docstring(documented)
                self.writeIndividualFiles(documented.contents.values())

    @override
    def writeLinks(self, system: model.System) -> None:
        """Write none."""
