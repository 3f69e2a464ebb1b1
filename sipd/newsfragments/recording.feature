Calls can be recorded (`record`, `[recording]`), and who is on hold can hear something (`hold_music`).
