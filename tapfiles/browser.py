"""A web page that calls: the browser's microphone and loudspeaker, by WebRTC, talk with somebody who has a SIP phone.

python tapfiles/browser.py sip:bob@192.0.2.7, and then open http://127.0.0.1:8080/ on this machine
"""

import sys
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.task import react
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from sipd.errors import ParseError
from sipd.media.endpoint.sinks import EchoPair
from sipd.sdp.description import parse_description
from sipd.ua import DialError, Phone

PAGE = b"""<!doctype html><meta charset="utf-8"><title>call</title>
<button>Call</button> <output></output> <audio autoplay></audio>
<script>
const [button, output, audio] = ["button", "output", "audio"].map(name => document.querySelector(name));
async function call() {
  const connection = new RTCPeerConnection();
  connection.ontrack = event => { audio.srcObject = event.streams[0] || new MediaStream([event.track]); };
  connection.onconnectionstatechange = () => { output.value = connection.connectionState; };
  const microphone = await navigator.mediaDevices.getUserMedia({audio: true});
  connection.addTrack(microphone.getAudioTracks()[0], microphone);
  await connection.setLocalDescription();
  while (connection.iceGatheringState != "complete")
    await new Promise(resolve => connection.addEventListener("icegatheringstatechange", resolve, {once: true}));
  const answer = await fetch("/call", {method: "POST", body: connection.localDescription.sdp});
  if (!answer.ok) throw new Error(await answer.text());
  await connection.setRemoteDescription({type: "answer", sdp: await answer.text()});
  button.textContent = "Hang up";
  button.onclick = () => { connection.close(); location.reload(); };
}
button.onclick = () => call().catch(error => { output.value = error; });
</script>"""


class CallPage(Resource):
    """GET shows the page. POST takes the browser's offer, answers it, and calls the callee for it."""

    isLeaf = True

    def __init__(self, phone: Phone, callee: str) -> None:
        Resource.__init__(self)
        self.phone = phone
        self.callee = callee

    def render_GET(self, request: Any) -> bytes:
        """Show the page."""
        return PAGE

    def render_POST(self, request: Any) -> int | bytes:
        """Answer the offer."""
        own = [f"http://{host}:{request.getHost().port}" for host in ("127.0.0.1", "localhost")]
        if request.getHeader("Origin") not in (None, *own):
            request.setResponseCode(403)  # a page of somebody else's in the user's browser
            return b"this page alone places calls\n"
        browser: Any = self.phone.make_media(self.phone.points[0])
        request.setHeader("Content-Type", "application/sdp")
        try:
            answer = browser.answer_offer(parse_description(request.content.read())).to_bytes()
        except ParseError as error:
            browser.close()
            request.setResponseCode(400)
            return str(error).encode()
        talking = Deferred.fromCoroutine(self.talk(browser))
        talking.addBoth(lambda outcome: print(outcome, flush=True))
        request.write(answer)
        request.finish()
        return NOT_DONE_YET

    async def talk(self, browser: Any) -> str:
        """Let the browser talk with the callee until either of them leaves; say how it went."""
        try:
            browser.play("tone:us:ringback", times=None)
            dialling = self.phone.dial(self.callee)
            browser.on_lost.append(lambda why: dialling.cancel())
            async with await dialling as call:
                browser.stop_playing()
                line: Any = EchoPair()
                browser.connect(line.left, line.left)
                call.connect(line.right, line.right)
                browser.on_lost.append(lambda why: call.hang_up())
                await call.ended
            return f"they talked for {call.duration:.0f} s"
        except (DialError, CancelledError) as error:
            return f"no call: {error}"
        finally:
            await browser.close()


async def main(reactor: Any, callee: str, port: str = "8080", listen: str = "udp:127.0.0.1:0") -> None:
    """Serve the page until somebody ends the program."""
    async with Phone(reactor, listen=listen) as phone:
        page: Any = CallPage(phone, callee)
        listening = await TCP4ServerEndpoint(reactor, int(port), interface="127.0.0.1").listen(Site(page))
        print(f"http://127.0.0.1:{listening.getHost().port}/ calls {callee}", flush=True)
        try:
            await Deferred()
        finally:
            await listening.stopListening()


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, *sys.argv[1:])))
