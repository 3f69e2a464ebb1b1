"""Calls over real sockets with real programs: SIPp, baresip, tshark."""
