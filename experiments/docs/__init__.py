"""Commands that write tables and pictures of docs/."""
