INFO and MESSAGE inside of a call reach the other side as they are, in order, and the answers come back: digits by INFO (`application/dtmf-relay`) work.
