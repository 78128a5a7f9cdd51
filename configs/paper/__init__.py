"""The tables and figures of the UniEdit paper (arXiv 2402.13185), made with this repository."""
