"""Where WeChat Pay tells of payments, at the address that the mini-program's server has for it."""

from __future__ import annotations

import logging

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from payments import services
from payments.errors import WebhookRefused, WebhookTooLarge
from waimai.infra.errors import DomainError, NotFound
from waimai.infra.http import as_domain_error, refusal_headers

logger = logging.getLogger(__name__)
PROVIDER = "wechat"


@csrf_exempt
def pay_success(request: HttpRequest) -> HttpResponse:
    """Take in a notification; SUCCESS is said after its commit, of a verified one only. WeChat goes by the status."""
    try:
        _check_length(request)
        services.handle_webhook(provider=PROVIDER, headers=request.headers, body=request.body)
    except Exception as error:
        refusal = as_domain_error(error)
        if refusal is None:
            raise
        return _failed(WebhookRefused() if isinstance(refusal, NotFound) else refusal)
    return JsonResponse({"code": "SUCCESS", "message": "SUCCESS"})


def _check_length(request: HttpRequest) -> None:
    """Refuse by the announced length, before any of it is read."""
    announced = request.META.get("CONTENT_LENGTH", "")
    if announced.isdecimal() and int(announced) > services.MAX_WEBHOOK_BYTES:
        raise WebhookTooLarge


def _failed(refusal: DomainError) -> HttpResponse:
    logger.warning("wechat pay: a notification was refused: %s", refusal.code)
    body = {"code": "FAIL", "message": str(refusal.detail)}
    return JsonResponse(body, status=refusal.status, headers=refusal_headers(refusal))
