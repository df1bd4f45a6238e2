"""Handlers about the installation itself: alive, ready, status; and sweeping up."""
