"""Settings from the environment (12-factor); every one has a working default.

With nothing set, waimai runs on embedded parts: SQLite files and a Valkey socket under `WAIMAI_DATA_DIR`.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import django_stubs_ext
import environ

from waimai.infra import admin_look, browser, parts
from waimai.timetable import TIMETABLE

# Lets code say `ModelAdmin[Shop]` at run time, as the type checker wants it said.
django_stubs_ext.monkeypatch()

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()

DATA_DIR = Path(env.str("WAIMAI_DATA_DIR", default=str(BASE_DIR / "var"))).resolve()
DATA_DIR.mkdir(parents=True, exist_ok=True)

# Development by default, so that two commands are enough; production says WAIMAI_DEBUG=0 and then must name its secret.
DEBUG = env.bool("WAIMAI_DEBUG", default=True)
SECRET_KEY = env.str("WAIMAI_SECRET_KEY", default="") or parts.development_secret(DATA_DIR, debug=DEBUG)
parts.refuse_what_is_unsafe(env, debug=DEBUG)
# This machine may always ask itself: health checks and `bin/up` do.
ALLOWED_HOSTS = [*env.list("WAIMAI_ALLOWED_HOSTS", default=["*"] if DEBUG else []), "localhost", "127.0.0.1"]
CSRF_TRUSTED_ORIGINS = env.list("WAIMAI_CSRF_TRUSTED_ORIGINS", default=[])
WAIMAI_PUBLIC_URL = env.str("WAIMAI_PUBLIC_URL", default="http://127.0.0.1:8000")
WAIMAI_TRUSTED_PROXIES = env.list("WAIMAI_TRUSTED_PROXIES", default=[])
WAIMAI_METRICS_NETWORKS = env.list("WAIMAI_METRICS_NETWORKS", default=["127.0.0.0/8", "::1/128"])

INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",
    "waimai.infra.admin_apps.StaffSiteConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "rest_framework_simplejwt",
    "rest_framework_simplejwt.token_blacklist",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_htmx",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "storages",
    "waimai.infra",
    "accounts",
    "menu",
    "payments",
    "orders",
    "orders.desk",
    "waimai",
]

MIDDLEWARE = [
    "waimai.infra.http.RequestIdMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "waimai.infra.browser.BrowserMiddleware",
    "waimai.infra.entry.EntryMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "waimai.infra.http.DomainErrorMiddleware",
]

ROOT_URLCONF = "waimai.urls"
WSGI_APPLICATION = "waimai.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]

# --- databases: one for what is shared, any number of shards for what belongs to a user ---
DATABASES: dict[str, dict[str, Any]] = {
    "default": parts.database(env.str("WAIMAI_DATABASE_URL", default=f"sqlite:///{DATA_DIR}/default.sqlite3")),
}
WAIMAI_ORDER_SHARDS: list[str] = []
for _number, _url in enumerate(
    env.str(
        "WAIMAI_ORDER_SHARDS", default=f"sqlite:///{DATA_DIR}/orders_0.sqlite3 sqlite:///{DATA_DIR}/orders_1.sqlite3"
    ).split()
):
    WAIMAI_ORDER_SHARDS.append(f"orders_{_number}")
    DATABASES[f"orders_{_number}"] = parts.database(_url)
DATABASE_ROUTERS = ["waimai.infra.router.ShardRouter"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- cache and broker: a real Redis or Valkey; by default the child of `bin/up` on a unix socket ---
WAIMAI_REDIS_URL = env.str("WAIMAI_REDIS_URL", default=parts.embedded_redis_url(DATA_DIR))
# How long the cache may take to answer.
WAIMAI_CACHE_SECONDS = env.float("WAIMAI_CACHE_SECONDS", default=0.1)
CACHES = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": WAIMAI_REDIS_URL,
        "KEY_PREFIX": "waimai",
        # A hung server must not hang a request: short time limits and no retries.
        "OPTIONS": {
            "SOCKET_TIMEOUT": WAIMAI_CACHE_SECONDS,
            "SOCKET_CONNECT_TIMEOUT": WAIMAI_CACHE_SECONDS,
            "IGNORE_EXCEPTIONS": False,
            # Not pickle: whoever gets to write into Redis must not run code here.
            "SERIALIZER": "django_redis.serializers.json.JSONSerializer",
        },
    }
}
CELERY_BROKER_URL = env.str("WAIMAI_BROKER_URL", default=parts.broker_url(WAIMAI_REDIS_URL))
# Named, as a broker may serve others too.
CELERY_TASK_DEFAULT_QUEUE = env.str("WAIMAI_QUEUE", default="waimai")
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# A broker that refuses to write, its disk being full, is one that is away: or the worker lives on and hears nothing.
CELERY_BROKER_CHANNEL_ERROR_RETRY = True
# For ever, where a worker would end after a hundred tries; and no connections closed around every task: docs/adr/0013.
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_DB_REUSE_MAX = 1_000_000_000
CELERY_TIMEZONE = "UTC"
CELERY_BROKER_TRANSPORT_OPTIONS = parts.broker_options(CELERY_BROKER_URL)
CELERY_BEAT_SCHEDULE = TIMETABLE

# --- people ---
AUTH_USER_MODEL = "accounts.User"
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTHENTICATION_BACKENDS = ["accounts.backends.StaffBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator",
        "OPTIONS": {"user_attributes": ("username", "phone", "nickname")},
    },
    {"NAME": "accounts.profiles.LongEnough"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
CSRF_FAILURE_VIEW = "waimai.infra.http.form_expired"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/"
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_HTTPONLY = True
WAIMAI_SMS_SENDER = env.str("WAIMAI_SMS_SENDER", default="accounts.sms.ConsoleSender")
WAIMAI_WECHAT_APP_ID = env.str("WAIMAI_WECHAT_APP_ID", default="")
WAIMAI_WECHAT_APP_SECRET = env.str("WAIMAI_WECHAT_APP_SECRET", default="")
# Empty: WeChat's own, or the simulator on our own web process while that is on.
WAIMAI_WECHAT_API_URL = env.str("WAIMAI_WECHAT_API_URL", default="")
WAIMAI_WECHAT_SIMULATOR = env.bool("WAIMAI_WECHAT_SIMULATOR", default=DEBUG)
RATELIMIT_ENABLE = env.bool("WAIMAI_RATELIMIT", default=True)
WAIMAI_RATES = parts.rates(env)
# "required": staff without a second factor can't log in.
WAIMAI_STAFF_OTP = env.str("WAIMAI_STAFF_OTP", default="")
OTP_TOTP_ISSUER = "waimai"
WAIMAI_ADMIN_NETWORKS = env.list("WAIMAI_ADMIN_NETWORKS", default=[])

SIMPLE_JWT = {
    "ACCESS_TOKEN_LIFETIME": timedelta(minutes=30),
    "REFRESH_TOKEN_LIFETIME": timedelta(days=14),
    "ROTATE_REFRESH_TOKENS": True,
    "BLACKLIST_AFTER_ROTATION": True,
    "UPDATE_LAST_LOGIN": False,
    # A changed password ends every token that was made with the old one.
    "CHECK_REVOKE_TOKEN": True,
    # As far as two machines' clocks may be apart: a token is good everywhere the moment it was made.
    "LEEWAY": timedelta(minutes=2),
    "ISSUER": "waimai",
    "AUDIENCE": "waimai",
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["accounts.backends.TokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["waimai.infra.parsing.StrictJSONParser"],
    "DEFAULT_SCHEMA_CLASS": "waimai.infra.schema.AutoSchema",
    "EXCEPTION_HANDLER": "waimai.infra.api.problem_response",
    "COERCE_DECIMAL_TO_STRING": True,
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "waimai API",
    "DESCRIPTION": "Takeaway ordering: menus, carts, orders, payments and the staff's side.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    # What is sent and what is answered is not the same shape: an answer may have an empty text where none may be sent.
    "COMPONENT_SPLIT_REQUEST": True,
    "SCHEMA_PATH_PREFIX": r"/api/v1",
    "POSTPROCESSING_HOOKS": ["drf_spectacular.hooks.postprocess_schema_enums", "waimai.openapi.complete"],
    # Two fields called `kind` with the same values and other labels.
    "ENUM_NAME_OVERRIDES": {"KindEnum": "menu.models.Kind", "LineKindEnum": "orders.serializers.LINE_KINDS"},
    # The browsable document brings its own scripts: no outside request.
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}

# --- language and time ---
LANGUAGE_CODE = "zh-hans"
LANGUAGES = [("zh-hans", "简体中文"), ("en", "English")]
LOCALE_PATHS = [BASE_DIR / "locale"]
TIME_ZONE = "Asia/Shanghai"
USE_TZ = True

# --- files ---
STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
STATIC_ROOT.mkdir(exist_ok=True)
STATICFILES_DIRS = [BASE_DIR / "static"]
MEDIA_URL = "/media/"
MEDIA_ROOT = DATA_DIR / "media"
STORAGES = {
    "default": parts.storage(env),
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}
WHITENOISE_USE_FINDERS = DEBUG
WHITENOISE_AUTOREFRESH = False
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024

# --- the business ---
WAIMAI_PAYMENT_TIMEOUT_SECONDS = env.int("WAIMAI_PAYMENT_TIMEOUT_SECONDS", default=900)
WAIMAI_AMENDMENT_SECONDS = env.int("WAIMAI_AMENDMENT_SECONDS", default=300)
WAIMAI_FORGOTTEN_DELIVERY_SECONDS = env.int("WAIMAI_FORGOTTEN_DELIVERY_SECONDS", default=3600)
WAIMAI_PAYMENT_PROVIDERS = env.list("WAIMAI_PAYMENT_PROVIDERS", default=["sandbox"])
WAIMAI_SANDBOX_SECRET = env.str("WAIMAI_SANDBOX_SECRET", default="")
WAIMAI_SANDBOX_AUTOPAY = env.bool("WAIMAI_SANDBOX_AUTOPAY", default=0)
WAIMAI_SKY_SHOP = env.int("WAIMAI_SKY_SHOP", default=0)
WAIMAI_SKY_UNPLACED = env.bool("WAIMAI_SKY_UNPLACED", default=DEBUG)
WAIMAI_DEMO = parts.demo_wanted(env)

# --- the browser's side ---
UNFOLD = admin_look.LOOK | {"DASHBOARD_CALLBACK": "orders.desk.front_admin.glance"}
CONTENT_SECURITY_POLICY = {"DIRECTIVES": browser.pages_policy(parts.picture_origins(env))}
X_FRAME_OPTIONS, SECURE_CONTENT_TYPE_NOSNIFF = "DENY", True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
CSRF_COOKIE_SAMESITE = "Lax"
if not DEBUG:
    # One setting for all of it: cookies, redirect and the promise to browsers that there is nothing but HTTPS here.
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = env.bool("WAIMAI_HTTPS", default=True)
    # Asked from inside, without TLS.
    SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
    SECURE_HSTS_SECONDS = env.int("WAIMAI_HSTS_SECONDS", default=31_536_000) if SECURE_SSL_REDIRECT else 0
    SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = env.bool("WAIMAI_HSTS_SUBDOMAINS", default=True)
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if WAIMAI_TRUSTED_PROXIES else None

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"request_id": {"()": "waimai.infra.http.RequestIdFilter"}},
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["request_id"]}},
    "root": {"handlers": ["stderr"], "level": env.str("WAIMAI_LOG_LEVEL", default="INFO")},
    "loggers": {
        "django.request": {"level": "ERROR"},
        "django.db.backends": {"level": "INFO"},
        # It would write down whole addresses, and those of WeChat's calls carry our secret.
        "urllib3": {"level": "INFO"},
    },
}
