"""SIP on the wire, or in a saved capture: packets to messages, which of them are shown, and how."""
