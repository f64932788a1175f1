"""The documentation: pages written by hand, and pages that `docs.generate` writes from the code."""
