"""A call that is only played through: the real user agent and B2BUA, on a transport that keeps what it is to send.

No socket is opened, no name server asked, no file or database touched.
"""
