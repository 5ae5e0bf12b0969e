"""One sweep, from its check to its end."""
