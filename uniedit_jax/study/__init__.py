"""User studies: a blind page for raters, and what their answers come to."""
