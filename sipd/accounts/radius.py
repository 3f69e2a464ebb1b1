"""Asks RADIUS servers whether the proof of a user is right: they have the passwords, sipd the nonces."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from pyrad.packet import AccessAccept, AccessChallenge, AccessReject
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from sipd.accounts.attributes import QuestionMaker, UnfitProofError
from sipd.accounts.reading import is_name
from sipd.errors import RequestRefusedError
from sipd.interfaces import DigestProof, IDigestVerifier
from sipd.radius.peer import RadiusUnavailableError
from sipd.radius.peers import RadiusPeers

#: An Access-Challenge wants another nonce than ours (RFC 5090 section 3.1): as good as a reject.
_VERDICTS = (AccessAccept, AccessReject, AccessChallenge)


@implementer(IDigestVerifier)
class RadiusVerifier:
    """Asks one server after another; the first that answers decides.

    That no server answers is no wrong password: who asks gets 503. There is one line in the log when that begins and
    one when it is over. A server's reject does not say whether there is such a user.

    Args:
        peers: the servers; closed with this.
        questions: makes what they are asked.
        retry_after: seconds that a user is told to wait when no server answers.
        domains: that may stand behind a name in the username of a digest, in lower case; of any other domain it would
            be somebody else's name.
        proved: told the name of each user whose proof is right.
    """

    _log = Logger()

    def __init__(
        self,
        peers: RadiusPeers,
        questions: QuestionMaker,
        *,
        retry_after: int,
        domains: Iterable[str],
        proved: Callable[[str], None],
    ) -> None:
        self._peers = peers
        self._questions = questions
        self._retry_after = retry_after
        self._domains = frozenset(domains)
        self._proved = proved
        self._is_away = False

    def verify(self, proof: DigestProof) -> Deferred[str | None]:
        """See `IDigestVerifier`."""
        return Deferred.fromCoroutine(self._verify(proof))

    def close(self) -> Deferred[None]:
        """Close the sockets."""
        return self._peers.close()

    async def _verify(self, proof: DigestProof) -> str | None:
        name, at, domain = proof.username.partition("@")
        if not is_name(name) or (at and domain.lower() not in self._domains):
            return None
        try:
            code = await self._peers.ask(partial(self._questions.make, proof), _VERDICTS)
        except UnfitProofError:
            return None
        except RadiusUnavailableError as error:
            if not self._is_away:
                self._is_away = True
                self._log.error("no RADIUS server answers ({reason}); nobody can prove to be its user", reason=error)
            retry = ("Retry-After", str(self._retry_after))
            raise RequestRefusedError("RADIUS Out Of Reach", status=503, headers=(retry,)) from None
        if self._is_away:
            self._is_away = False
            self._log.info("RADIUS answers again")
        if code != AccessAccept:
            return None
        self._proved(name)
        return name
