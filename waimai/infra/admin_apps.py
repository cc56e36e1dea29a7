"""Which site the admin is. A module of its own: Django takes each configuration in `apps` for a candidate."""

from __future__ import annotations

from django.contrib.admin.apps import AdminConfig


class StaffSiteConfig(AdminConfig):
    """Django's admin, on our site."""

    default = False
    default_site = "waimai.infra.admin_site.StaffSite"
