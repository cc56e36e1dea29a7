"""A small shop to test with, and threads that start together."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Sequence
from decimal import Decimal
from io import BytesIO
from typing import Any

from django.db import connections
from PIL import Image

from menu import services
from menu.hours import OpeningSpan
from menu.models import Category, Item, Kind, Option, OptionGroup, SetMealComponent, Shop
from menu.snapshot import Menu, MenuComponent, MenuItem, MenuOption, MenuOptionGroup, ShopInfo

WAIT_SECONDS = 30


def make_shop(name: str = "川味小馆", **terms: Any) -> Shop:
    """A shop that is always open: delivery 6, packing 1 each, minimum 20."""
    return Shop.objects.create(
        **{"name": name, "delivery_fee": Decimal(6), "packing_fee": Decimal(1), "minimum_order": Decimal(20)} | terms
    )


def make_category(shop: Shop, name: str = "热菜", kind: str = Kind.DISH, **values: Any) -> Category:
    """A heading."""
    return Category.objects.get_or_create(shop=shop, name=name, defaults={"kind": kind} | values)[0]


def make_dish(shop: Shop, name: str = "麻婆豆腐", price: str = "18.00", **values: Any) -> Item:
    """A dish on sale, unlimited; `stock=3` limits it."""
    stock = values.pop("stock", None)
    category = values.pop("category", None) or make_category(shop)
    dish = Item.objects.create(
        shop=shop, category=category, name=name, price=Decimal(price), **{"kind": Kind.DISH} | values
    )
    if stock is not None:
        services.set_stock(item_id=dish.pk, available=stock)
    else:
        services.menu_changed(shop.pk)
    return dish


def make_set_meal(shop: Shop, dishes: Sequence[tuple[Item, int]], name: str = "双人餐", price: str = "30.00") -> Item:
    """A set meal on sale."""
    category = make_category(shop, "套餐", Kind.SET_MEAL)
    meal = make_dish(shop, name, price, category=category, kind=Kind.SET_MEAL)
    for dish, quantity in dishes:
        SetMealComponent.objects.create(set_meal=meal, dish=dish, quantity=quantity)
    services.menu_changed(shop.pk)
    return meal


def make_group(item: Item, name: str, options: dict[str, str], *, least: int = 0, most: int = 1) -> list[Option]:
    """A choice; `options` are names and what each adds to the price."""
    group = OptionGroup.objects.create(item=item, name=name, min=least, max=most)
    made = [
        Option.objects.create(group=group, name=option, price_delta=Decimal(delta), sort=place)
        for place, (option, delta) in enumerate(options.items())
    ]
    services.menu_changed(item.shop_id)
    return made


def shop_info(**terms: Any) -> ShopInfo:
    """A shop as a value, without a database."""
    known: dict[str, Any] = {
        "id": 1,
        "name": "川味小馆",
        "time_zone": "Asia/Shanghai",
        "day_starts_at": dt.time(4),
        "is_open": True,
        "opening_hours": (),
        "notice": "",
        "phone": "",
        "address": "",
        "latitude": None,
        "longitude": None,
        "delivery_fee": Decimal("6.00"),
        "packing_fee": Decimal("1.00"),
        "minimum_order": Decimal("20.00"),
        "prep_minutes": 30,
        "delivery_area": None,
        "menu_version": 1,
    }
    return ShopInfo(**known | terms)


def span(weekday: int, opens: str, closes: str) -> OpeningSpan:
    """Hours, as "HH:MM"."""
    return OpeningSpan(weekday=weekday, opens=dt.time.fromisoformat(opens), closes=dt.time.fromisoformat(closes))


def menu_item(item_id: int, price: str = "18.00", **values: Any) -> MenuItem:
    """A dish of a menu, without a database."""
    known: dict[str, Any] = {
        "id": item_id,
        "category_id": 1,
        "kind": "dish",
        "name": f"菜{item_id}",
        "price": Decimal(price),
        "image": "",
        "description": "",
        "on_sale": True,
        "limited": False,
        "in_stock": True,
        "option_groups": (),
        "components": (),
    }
    return MenuItem(**known | values)


def menu_group(group_id: int, least: int, most: int, deltas: Sequence[str]) -> MenuOptionGroup:
    """A choice with options numbered from `group_id * 100`."""
    options = tuple(
        MenuOption(id=group_id * 100 + place, name=f"选项{place}", price_delta=Decimal(delta))
        for place, delta in enumerate(deltas)
    )
    return MenuOptionGroup(id=group_id, name=f"组{group_id}", min=least, max=most, options=options)


def component(item_id: int, quantity: int = 1) -> MenuComponent:
    """A dish of a set meal."""
    return MenuComponent(item_id=item_id, name=f"菜{item_id}", quantity=quantity)


def menu_of(*items: MenuItem, **terms: Any) -> Menu:
    """A menu of these items, without a database."""
    return Menu(shop=shop_info(**terms), categories=(), items={item.id: item for item in items})


def picture(kind: str = "PNG", size: tuple[int, int] = (64, 48), **options: Any) -> bytes:
    """The bytes of a picture."""
    out = BytesIO()
    Image.new(options.pop("mode", "RGB"), size, options.pop("color", "red")).save(out, format=kind, **options)
    return out.getvalue()


def together(*calls: Callable[[], Any]) -> list[Any]:
    """Run each call in a thread of its own, all released at once; returns results and raised errors, in order."""
    gate = threading.Barrier(len(calls))
    answers: list[Any] = [None] * len(calls)

    def run(place: int, call: Callable[[], Any]) -> None:
        try:
            gate.wait(WAIT_SECONDS)
            answers[place] = call()
        except Exception as error:
            answers[place] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(place, call)) for place, call in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_SECONDS)
        assert not thread.is_alive()
    return answers
