`sipd monitor` shows SIP on the wire of this machine, or in a saved capture, message by message or drawn call by call, chosen by method, user, status, host, Call-ID or text, and sums it up.
