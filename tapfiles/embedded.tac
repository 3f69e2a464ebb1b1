# Embeds sipd in another Twisted application:  twistd -n -y tapfiles/embedded.tac
#
# Here the application is a web page that shows who is registered and which calls there are.

from pathlib import Path

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import Application
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.web.resource import Resource
from twisted.web.server import Site

from sipd.daemon.config import load
from sipd.daemon.service import SipService

WEB = "tcp:8080:interface=127.0.0.1"

sip = SipService(load(Path(__file__).with_name("sipd.toml")), reactor)


class Status(Resource):
    """Says in plain text what goes on."""

    isLeaf = True

    def render_GET(self, request):
        request.setHeader("Content-Type", "text/plain; charset=utf-8")
        lines = ["registered:", *sip.stack.location.addresses_of_record(), "", "calls:"]
        for call in sip.stack.explanations.calls():
            lines += [call, *(f"  {line}" for line in sip.stack.explanations.explain(call))]
        return "\n".join(lines).encode("utf-8", "backslashreplace")


application = Application("switchboard")
sip.setServiceParent(application)
StreamServerEndpointService(serverFromString(reactor, WEB), Site(Status())).setServiceParent(application)
