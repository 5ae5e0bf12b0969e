"""The winner of a search: selected and reported on fresh draws; the test set, read once."""
