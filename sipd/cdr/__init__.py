"""Call records: what each call and each attempt came to, and the places that it is written to."""
