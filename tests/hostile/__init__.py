"""A whole running endpoint and those who wish it ill: an answer or a silent drop, at a bounded cost."""
