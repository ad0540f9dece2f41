"""Model Spec Midtraining (arXiv 2605.02087) as a distributed Ray system."""

__version__ = "0.1.0"
