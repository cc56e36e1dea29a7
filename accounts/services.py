"""The front door of accounts: what pages, the API and the apps above may call. The rooms behind it are private."""

from __future__ import annotations

from accounts.addresses import (
    AddedAddress,
    AddressDraft,
    AddressInfo,
    add_address,
    address_book,
    change_address,
    default_address,
    delete_address,
    get_address,
    get_addresses,
    list_addresses,
    set_default_address,
)
from accounts.closing import close_account, closed_accounts, erase_all_again, mark_erased
from accounts.codes import CodeSent, send_code
from accounts.finding import id_of_phone
from accounts.housekeeping import purge_expired
from accounts.live_tickets import GOOD_FOR_SECONDS as LIVE_TICKET_SECONDS
from accounts.live_tickets import caller_of_ticket, live_ticket
from accounts.logins import login_staff, login_with_code, login_with_password, user_of_session
from accounts.profiles import (
    Profile,
    UserBrief,
    own_profile,
    profile_of,
    set_active,
    set_password,
    update_profile,
    user_brief,
)
from accounts.staff import (
    Role,
    add_member,
    couriers_of,
    ensure_roles,
    has_permission_somewhere,
    permissions_of,
    require_staff,
    roles_of,
    shops_by_permission,
    shops_of_staff,
)
from accounts.tokens import (
    AccessClaims,
    TokenPair,
    issue_lone_token,
    issue_tokens,
    read_access,
    revoke,
    rotate,
    user_of,
    user_of_header,
    valid_claims,
)
from accounts.wechat_accounts import bind_phone, bind_wechat, login_with_wechat
from accounts.workplaces import name_shops_by

__all__ = [
    "LIVE_TICKET_SECONDS",
    "AccessClaims",
    "AddedAddress",
    "AddressDraft",
    "AddressInfo",
    "CodeSent",
    "Profile",
    "Role",
    "TokenPair",
    "UserBrief",
    "add_address",
    "add_member",
    "address_book",
    "bind_phone",
    "bind_wechat",
    "caller_of_ticket",
    "change_address",
    "close_account",
    "closed_accounts",
    "couriers_of",
    "default_address",
    "delete_address",
    "ensure_roles",
    "erase_all_again",
    "get_address",
    "get_addresses",
    "has_permission_somewhere",
    "id_of_phone",
    "issue_lone_token",
    "issue_tokens",
    "list_addresses",
    "live_ticket",
    "login_staff",
    "login_with_code",
    "login_with_password",
    "login_with_wechat",
    "mark_erased",
    "name_shops_by",
    "own_profile",
    "permissions_of",
    "profile_of",
    "purge_expired",
    "read_access",
    "require_staff",
    "revoke",
    "roles_of",
    "rotate",
    "send_code",
    "set_active",
    "set_default_address",
    "set_password",
    "shops_by_permission",
    "shops_of_staff",
    "update_profile",
    "user_brief",
    "user_of",
    "user_of_header",
    "user_of_session",
    "valid_claims",
]
