"""The dial plan: where a call goes, as which number, and by which trunk."""
