"""The front door of orders: what pages, the API, the staff's side and commands call. The rooms behind are private."""

from __future__ import annotations

from orders.amending import answer as answer_amendment
from orders.amending import open_proposal
from orders.amending import propose as propose_amendment
from orders.cart import CartChanged, CartFull, CartView
from orders.cart import add as add_to_cart
from orders.cart import clear as clear_cart
from orders.cart import merge as merge_into_cart
from orders.cart import remove as remove_from_cart
from orders.cart import set_quantity as set_cart_quantity
from orders.cart import take_one as take_one_from_cart
from orders.cart import view as view_cart
from orders.checkout import Checkout
from orders.documents import Document, snapshot_of
from orders.erasing import close_account
from orders.exporting import my_data
from orders.joining import bind_wechat
from orders.keyless import pay_keyless, place_cart
from orders.lifecycle import accept, cancel, complete, deliver, reject, remind, withdraw
from orders.paying import pay
from orders.placing import Placed, place
from orders.reading import (
    changes_since,
    documents_of,
    get_order,
    last_change,
    newest_orders,
    orders_of,
    own_order,
    paid_snapshots,
    states_of,
)
from orders.reordering import Gone, Reordered, Repriced, reorder
from orders.rescue import retry_saga, undo_stuck_order
from orders.sharing import share_token, shared_order
from orders.states import WITH_THE_SHOP
from payments.services import StartedPayment

__all__ = [
    "WITH_THE_SHOP",
    "CartChanged",
    "CartFull",
    "CartView",
    "Checkout",
    "Document",
    "Gone",
    "Placed",
    "Reordered",
    "Repriced",
    "StartedPayment",
    "accept",
    "add_to_cart",
    "answer_amendment",
    "bind_wechat",
    "cancel",
    "changes_since",
    "clear_cart",
    "close_account",
    "complete",
    "deliver",
    "documents_of",
    "get_order",
    "last_change",
    "merge_into_cart",
    "my_data",
    "newest_orders",
    "open_proposal",
    "orders_of",
    "own_order",
    "paid_snapshots",
    "pay",
    "pay_keyless",
    "place",
    "place_cart",
    "propose_amendment",
    "reject",
    "remind",
    "remove_from_cart",
    "reorder",
    "retry_saga",
    "set_cart_quantity",
    "share_token",
    "shared_order",
    "snapshot_of",
    "states_of",
    "take_one_from_cart",
    "undo_stuck_order",
    "view_cart",
    "withdraw",
]
