"""Reading a shop and its menu: loaded once per version, kept in the process, never older than the database's."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import threading
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from django.contrib.staticfiles.storage import staticfiles_storage
from django.core.files.storage import default_storage
from django.db import connections
from django.db.models import Prefetch, QuerySet
from django.templatetags.static import static

from menu.errors import NoSuchItem, NoSuchShop
from menu.hours import OpeningSpan
from menu.models import Category, Item, Kind, Option, OptionGroup, SetMealComponent, Shop
from menu.snapshot import Menu, MenuCategory, MenuComponent, MenuItem, MenuOption, MenuOptionGroup, ShopInfo
from menu.versions import MOST_SHOPS_KEPT, MenuDocument, missing_shops, prepared_menus
from waimai.infra.sharding import DEFAULT
from waimai.infra.shared_cache import SharedCache

T = TypeVar("T")
STATIC_PREFIX = "static:"
LOAD_TRIES = 3
# An old version is asked for by nobody; this is how long it lies there.
SHARED_SECONDS = 600


def _edition() -> str:
    """What else a menu is made of: the addresses of the pictures that came with this release."""
    return getattr(staticfiles_storage, "manifest_hash", "")


_lock = threading.Lock()
_menus: dict[int, Menu] = {}
_documents: dict[int, tuple[int, MenuDocument]] = {}
_shared = SharedCache("menu", Menu, seconds=SHARED_SECONDS, edition=_edition)


def get_menu(shop_id: int) -> Menu:
    """The shop's menu as it is now: one small query says whether the copy at hand, or in Redis, still is.

    Raises NoSuchShop.
    """
    version = _version(shop_id)
    if (menu := _at_hand(shop_id, version)) is not None:
        return menu
    if connections[DEFAULT].in_atomic_block:
        # A change that isn't committed yet may never be: others must not see it.
        return _load_whole(shop_id)
    load, at_hand = partial(_load_whole, shop_id), partial(_at_hand, shop_id, version)
    return _shared.get(shop_id, version, load, at_hand=at_hand, keep=_keep_menu)


def _at_hand(shop_id: int, version: int) -> Menu | None:
    menu = _menus.get(shop_id)
    return menu if menu is not None and menu.shop.menu_version == version else None


def _keep_menu(menu: Menu) -> None:
    with _lock:
        _keep(_menus, menu.shop.id, menu)


def get_shop(shop_id: int) -> ShopInfo:
    """The shop as it is now. Raises NoSuchShop."""
    return get_menu(shop_id).shop


def shops() -> QuerySet[Shop]:
    """Every shop with its hours, for lists that page themselves; `shop_info` turns a row into a value."""
    return Shop.objects.prefetch_related("opening_hours").order_by("pk")


def shop_names() -> dict[int, str]:
    """What every shop is called, by number."""
    return dict(Shop.objects.values_list("pk", "name"))


def list_shops() -> list[ShopInfo]:
    """Every shop, oldest first."""
    return [shop_info(shop) for shop in shops()]


def on_sale(menu: Menu) -> tuple[MenuCategory, ...]:
    """The menu as customers see it: what is on sale, under headings that have anything."""
    shown = (
        dataclasses.replace(category, items=tuple(item for item in category.items if item.on_sale))
        for category in menu.categories
    )
    return tuple(category for category in shown if category.items)


def found(categories: Iterable[MenuCategory], wanted: str) -> tuple[MenuCategory, ...]:
    """What of a menu has `wanted` in its name, its description or its parts; all of it when nothing is wanted."""
    text = wanted.casefold()
    shown = (
        dataclasses.replace(category, items=tuple(item for item in category.items if text in _described(item)))
        for category in categories
    )
    return tuple(category for category in shown if category.items)


def _described(item: MenuItem) -> str:
    return " ".join([item.name, item.description, *(part.name for part in item.components)]).casefold()


def menu_document(shop_id: int) -> MenuDocument:
    """The menu's document: what is on sale, in order. Whether the shop is open is not in it. Raises NoSuchShop."""
    if missing_shops.get(shop_id):
        raise NoSuchShop
    ticket, no_shop = prepared_menus.ticket(), missing_shops.ticket()
    try:
        document = _document(shop_id)
    except NoSuchShop:
        missing_shops.put(shop_id, shop_id, no_shop)
        raise
    prepared_menus.put(shop_id, document, ticket)
    return document


def _document(shop_id: int) -> MenuDocument:
    menu = get_menu(shop_id)
    kept = _documents.get(shop_id)
    if kept is not None and kept[0] == menu.shop.menu_version:
        return kept[1]
    data = {"categories": [_category_data(category) for category in on_sale(menu)]}
    body = json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
    document = MenuDocument(body=body, etag=f'"{hashlib.sha256(body).hexdigest()[:32]}"', data=data)
    with _lock:
        _keep(_documents, shop_id, (menu.shop.menu_version, document))
    return document


def image_url(name: str) -> str:
    """The address of a picture: a path on this host, or a whole URL where the store is elsewhere; empty for none."""
    if not name:
        return ""
    return static(name.removeprefix(STATIC_PREFIX)) if name.startswith(STATIC_PREFIX) else default_storage.url(name)


def _keep(copies: dict[int, T], shop_id: int, copy: T) -> None:
    copies.pop(shop_id, None)
    while len(copies) >= MOST_SHOPS_KEPT:
        copies.pop(next(iter(copies)))
    copies[shop_id] = copy


def _version(shop_id: int) -> int:
    version = Shop.objects.filter(pk=shop_id).values_list("menu_version", flat=True).first()
    if version is None:
        raise NoSuchShop
    return version


def _load_whole(shop_id: int) -> Menu:
    """Load until no edit came in between the queries. If edits keep coming, the last try carries the version read
    before it: the next reader sees a newer one and loads again."""
    menu = _load(shop_id)
    for _ in range(LOAD_TRIES):
        if _version(shop_id) == menu.shop.menu_version:
            break
        menu = _load(shop_id)
    return menu


def shop_of_item(item_id: int) -> int:
    """The number of the shop that an item belongs to. Raises NoSuchItem."""
    shop_id = Item.objects.filter(pk=item_id).values_list("shop_id", flat=True).first()
    if shop_id is None:
        raise NoSuchItem
    return int(shop_id)


def _load(shop_id: int) -> Menu:
    shop = shops().filter(pk=shop_id).first()
    if shop is None:
        raise NoSuchShop
    rows = Item.objects.filter(shop=shop).select_related("category", "stock").order_by("sort", "pk")
    items = {item.pk: _item(item) for item in rows.prefetch_related(*_item_parts())}
    return Menu(shop=shop_info(shop), items=items, categories=_categories(shop, items.values()))


def _item_parts() -> tuple[Prefetch[str, QuerySet[Any], str], ...]:
    options = Prefetch("options", Option.objects.order_by("sort", "pk"))
    parts = SetMealComponent.objects.select_related("dish__stock", "dish__category").order_by("pk")
    return (
        Prefetch("option_groups", OptionGroup.objects.order_by("sort", "pk").prefetch_related(options)),
        Prefetch("set_meal_components", parts),
    )


def _categories(shop: Shop, items: Iterable[MenuItem]) -> tuple[MenuCategory, ...]:
    by_category: dict[int, list[MenuItem]] = {}
    for item in items:
        by_category.setdefault(item.category_id, []).append(item)
    return tuple(
        MenuCategory(id=row.pk, name=row.name, kind=row.kind, sort=row.sort, items=tuple(by_category.get(row.pk, ())))
        for row in Category.objects.filter(shop=shop, is_active=True).order_by("sort", "pk")
    )


def shop_info(shop: Shop) -> ShopInfo:
    """The row as a value."""
    spans = (OpeningSpan(weekday=row.weekday, opens=row.opens, closes=row.closes) for row in shop.opening_hours.all())
    return ShopInfo(
        id=shop.pk,
        name=shop.name,
        time_zone=shop.time_zone,
        day_starts_at=shop.day_starts_at,
        is_open=shop.is_open,
        opening_hours=tuple(spans),
        notice=shop.notice,
        phone=shop.phone,
        address=shop.address,
        latitude=None if shop.latitude is None else float(shop.latitude),
        longitude=None if shop.longitude is None else float(shop.longitude),
        delivery_fee=shop.delivery_fee,
        packing_fee=shop.packing_fee,
        minimum_order=shop.minimum_order,
        prep_minutes=shop.prep_minutes,
        delivery_area=shop.delivery_area,
        menu_version=shop.menu_version,
    )


def _item(row: Item) -> MenuItem:
    parts = list(row.set_meal_components.all()) if row.kind == Kind.SET_MEAL else []
    return MenuItem(
        id=row.pk,
        category_id=row.category_id,
        kind=row.kind,
        name=row.name,
        price=row.price,
        image=image_url(row.image),
        description=row.description,
        on_sale=row.on_sale and row.category.is_active and all(part.dish.on_sale for part in parts),
        limited=_is_limited(row),
        in_stock=_has(row, 1) and all(_has(part.dish, part.quantity) for part in parts),
        back_at=_back_at([row, *(part.dish for part in parts)]),
        option_groups=tuple(_group(group) for group in row.option_groups.all()),
        components=tuple(
            MenuComponent(item_id=part.dish_id, name=part.dish.name, quantity=part.quantity) for part in parts
        ),
    )


def _group(row: OptionGroup) -> MenuOptionGroup:
    options = (MenuOption(id=one.pk, name=one.name, price_delta=one.price_delta) for one in row.options.all())
    return MenuOptionGroup(id=row.pk, name=row.name, min=row.min, max=row.max, options=tuple(options))


def _is_limited(item: Item) -> bool:
    return hasattr(item, "stock") and item.stock.limited


def _has(item: Item, portions: int) -> bool:
    return not _is_limited(item) or item.stock.orderable >= portions


def _back_at(parts: Sequence[Item]) -> datetime | None:
    """When the last of what is sold out comes back."""
    times: list[datetime | None] = [each.stock.back_at for each in parts if not _has(each, 1)]
    known = [at for at in times if at]
    return max(known) if known and len(known) == len(times) else None


def _category_data(category: MenuCategory) -> dict[str, Any]:
    items = [_item_data(item) for item in category.items]
    return {"id": category.id, "name": category.name, "kind": category.kind, "items": items}


def _item_data(item: MenuItem) -> dict[str, Any]:
    return {
        "id": item.id,
        "kind": item.kind,
        "name": item.name,
        "price": f"{item.price:.2f}",
        "image": item.image,
        "description": item.description,
        "available": item.in_stock,
        "back_at": item.back_at.isoformat() if item.back_at else None,
        "option_groups": [_group_data(group) for group in item.option_groups],
        "components": [
            {"item": part.item_id, "name": part.name, "quantity": part.quantity} for part in item.components
        ],
    }


def _group_data(group: MenuOptionGroup) -> dict[str, Any]:
    options = [
        {"id": option.id, "name": option.name, "price_delta": f"{option.price_delta:.2f}"} for option in group.options
    ]
    return {"id": group.id, "name": group.name, "min": group.min, "max": group.max, "options": options}
