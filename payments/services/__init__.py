"""The front door of payments: every change of a payment or refund is one of these functions."""

from __future__ import annotations

from payments.providers import labels as provider_labels
from payments.services.audit import OrderBooks, books, payment_problems
from payments.services.housekeeping import forget_receipts
from payments.services.ledger import adjust, fill_ledger
from payments.services.paying import ROUTE, StartedPayment, start_payment, stop_collecting
from payments.services.polling import poll_payment
from payments.services.reading import PaymentInfo, captured_payments, forget_reasons, get_payment, money_of_orders
from payments.services.reconciling import Reconciliation, day, reconcile, reconcile_yesterday, yesterday
from payments.services.refunding import refund_order, refund_part, request_refund, send_refund, send_refunds_now
from payments.services.sandbox import let_sandbox_pay, tell_sandbox
from payments.services.settling import lock_payments
from payments.services.webhooks import MAX_WEBHOOK_BYTES, handle_webhook
from payments.services.wording import payment_state, refund_state

__all__ = [
    "MAX_WEBHOOK_BYTES",
    "ROUTE",
    "OrderBooks",
    "PaymentInfo",
    "Reconciliation",
    "StartedPayment",
    "adjust",
    "books",
    "captured_payments",
    "day",
    "fill_ledger",
    "forget_reasons",
    "forget_receipts",
    "get_payment",
    "handle_webhook",
    "let_sandbox_pay",
    "lock_payments",
    "money_of_orders",
    "payment_problems",
    "payment_state",
    "poll_payment",
    "provider_labels",
    "reconcile",
    "reconcile_yesterday",
    "refund_order",
    "refund_part",
    "refund_state",
    "request_refund",
    "send_refund",
    "send_refunds_now",
    "start_payment",
    "stop_collecting",
    "tell_sandbox",
    "yesterday",
]
