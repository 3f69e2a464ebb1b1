Media of a phone find their way by ICE (STUN, TURN, full and lite) and have their keys by DTLS, so that browsers can be talked with; `tapfiles/browser.py` is a page that calls.
