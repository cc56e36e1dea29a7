"""Changes of the menu and the rules they keep (the published product's): each bumps the menu version it makes stale."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.utils.translation import gettext as _

from menu.errors import MenuRuleBroken, NoSuchItem, NoSuchShop
from menu.models import Category, Item, Kind, Shop, Stock
from menu.versions import menu_changed
from waimai.infra.db import run_atomic
from waimai.infra.sharding import DEFAULT


def set_open(*, shop_id: int, is_open: bool) -> None:
    """Open or close a shop by hand. Raises NoSuchShop."""

    def change() -> None:
        if not Shop.objects.filter(pk=shop_id).update(is_open=is_open):
            raise NoSuchShop
        menu_changed(shop_id)

    run_atomic(DEFAULT, change)


def put_on_sale(*, item_ids: Sequence[int]) -> int:
    """Sell items, all or none; dishes come first, so that a set meal may be started along with its dishes.

    Returns how many there are. Raises MenuRuleBroken for a set meal that is empty or has a stopped dish.
    """

    def change() -> int:
        items = _lock(item_ids)
        Item.objects.filter(pk__in=item_ids, kind=Kind.DISH).update(on_sale=True)
        for item in items:
            if item.kind == Kind.SET_MEAL and (problem := why_not_startable(item)):
                raise MenuRuleBroken(problem)
        Item.objects.filter(pk__in=item_ids).update(on_sale=True)
        return len(items)

    return run_atomic(DEFAULT, change)


def stop_selling(*, item_ids: Sequence[int]) -> int:
    """Stop items, and with a dish every set meal that it is part of. Returns how many were asked for."""

    def change() -> int:
        items = _lock(item_ids)
        Item.objects.filter(pk__in=item_ids).update(on_sale=False)
        meals = Item.objects.filter(set_meal_components__dish_id__in=item_ids).values_list("pk", flat=True)
        Item.objects.filter(pk__in=list(meals)).update(on_sale=False)
        return len(items)

    return run_atomic(DEFAULT, change)


def _lock(item_ids: Iterable[int]) -> list[Item]:
    """The items, after their shops' versions were bumped: that locks the shops, so edits of one shop queue up."""
    rows = Item.objects.filter(pk__in=list(item_ids)).order_by("pk")
    menu_changed(*rows.values_list("shop_id", flat=True))
    return list(rows)


def delete_item(*, item_id: int) -> None:
    """Delete a dish or a set meal. Raises NoSuchItem, or MenuRuleBroken saying why it has to stay."""

    def change() -> None:
        item = next(iter(_lock([item_id])), None)
        if item is None:
            raise NoSuchItem
        if problem := why_not_deletable(item):
            raise MenuRuleBroken(problem)
        item.delete()

    run_atomic(DEFAULT, change)


def delete_category(*, category_id: int) -> None:
    """Delete an empty category. Raises MenuRuleBroken while it has items."""

    def change() -> None:
        category = Category.objects.filter(pk=category_id).first()
        if category is None:
            return
        menu_changed(category.shop_id)
        if problem := why_category_stays(category):
            raise MenuRuleBroken(problem)
        category.delete()

    run_atomic(DEFAULT, change)


def why_not_deletable(item: Item) -> str:
    """Why an item can't be deleted; empty when it can."""
    if item.on_sale:
        return _("“%(name)s”正在售卖，不能删除。") % {"name": item.name}
    if item.set_meal_uses.exists():
        return _("“%(name)s”包含在套餐中，不能删除。") % {"name": item.name}
    if Stock.objects.filter(item=item, held__gt=0).exists():
        return _("“%(name)s”有待付款的订单，不能删除。") % {"name": item.name}
    return ""


def why_category_stays(category: Category) -> str:
    """Why a category can't be deleted; empty when it can."""
    if category.items.exists():
        return _("“%(name)s”下有商品，不能删除。") % {"name": category.name}
    return ""


def why_not_startable(set_meal: Item, dishes: Sequence[Item] | None = None) -> str:
    """Why a set meal can't be sold, made of `dishes` (by default those it has); empty when it can."""
    if dishes is None:
        dishes = [part.dish for part in set_meal.set_meal_components.select_related("dish")]
    if not dishes:
        return _("套餐“%(name)s”没有菜品，不能起售。") % {"name": set_meal.name}
    stopped = [dish.name for dish in dishes if not dish.on_sale]
    if stopped:
        names = {"name": set_meal.name, "dishes": "、".join(stopped)}
        return _("套餐“%(name)s”包含停售的菜品（%(dishes)s），不能起售。") % names
    return ""
