"""The HTTP front door: Open Inference Protocol v2 with Triton's extensions, and the management routes.

It decodes, bounds and encodes; what to do with a request is the `Invoker`'s, what stands deployed the `Functions`'.
"""

from fastgshare.gateway.http.application import build_app
from fastgshare.gateway.http.body import BodyBudget
from fastgshare.gateway.http.metrics import MetricsRoute
from fastgshare.gateway.http.server import HttpUnavailable, serve_http
from fastgshare.gateway.http.settings import HttpSettings
from fastgshare.gateway.http.uploads import sweep_uploads

__all__ = [
    "BodyBudget",
    "HttpSettings",
    "HttpUnavailable",
    "MetricsRoute",
    "build_app",
    "serve_http",
    "sweep_uploads",
]
