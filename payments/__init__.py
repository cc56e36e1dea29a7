"""Payments: providers, webhooks, refunds. It knows an order only by its number."""
