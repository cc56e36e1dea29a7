"""Demo people. Only for demo data: everybody knows these passwords."""

from __future__ import annotations

from accounts import services
from accounts.logins import DEMO_PASSWORD
from accounts.models import Address, User

PASSWORD = DEMO_PASSWORD
# Usernames, with what each is called and the role.
STAFF = {
    "kitchen": ("后厨", "kitchen"),
    "courier": ("骑手", "courier"),
    "manager": ("值班经理", "manager"),
    "frontdesk": ("前台", "front_desk"),
}
# Offices and flats inside the demo shop's delivery area.
CUSTOMERS = (
    ("13800000001", "林小满", "北京市朝阳区", "建国路 88 号 1 号楼 1201", "公司", 39.915000, 116.455000),
    ("13800000002", "陈大壮", "北京市朝阳区", "光华路 9 号 2 单元 302", "家", 39.917200, 116.452300),
    ("13800000003", "赵思思", "北京市朝阳区", "东三环中路 39 号 5 栋 1606", "家", 39.911800, 116.458900),
    ("13800000004", "周正", "北京市东城区", "建国门内大街 7 号 3 层", "公司", 39.909400, 116.431700),
    ("13800000005", "吴桐", "北京市东城区", "朝阳门内大街 55 号 4 单元 801", "学校", 39.923600, 116.436100),
)


def seed(shop_id: int) -> None:
    """Staff of the shop and five customers with an address each; whoever is there already stays as is."""
    services.ensure_roles()
    if not User.objects.filter(username="admin").exists():
        User.objects.create_superuser("admin", PASSWORD, nickname="店长")
    for username, (nickname, role) in STAFF.items():
        user = User.objects.filter(username=username).first() or User.objects.create_user(
            username, PASSWORD, nickname=nickname, is_staff=True
        )
        services.add_member(user_id=user.pk, shop_id=shop_id, role=role)
    for customer in CUSTOMERS:
        _seed_customer(*customer)


def _seed_customer(
    phone: str, name: str, region: str, detail: str, label: str, latitude: float, longitude: float
) -> None:
    user = User.objects.filter(phone=phone).first() or User.objects.create_user(
        phone=phone, password=PASSWORD, nickname=name
    )
    if Address.objects.filter(user=user).exists():
        return
    draft = services.AddressDraft(
        contact_name=name,
        phone=phone,
        region=region,
        detail=detail,
        label=label,
        latitude=latitude,
        longitude=longitude,
    )
    services.add_address(user_id=user.pk, draft=draft)
