"""HTTP API: routes, middleware, authentication, validation and responses.

Start with `app.py`; `schemas.py` has the request and response bodies, `api_keys.py` and `authentication.py` check keys.
"""
