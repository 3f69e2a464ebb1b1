Registered phones call each other, and routes by pattern lead elsewhere; audio and video are relayed, and every call ends with a record and an explanation.
