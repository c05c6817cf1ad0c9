"""Routes, middleware, authentication, validation and responses.

Start with `app.py`; `schemas.py` has the messages, `api_keys.py` and `authentication.py` check keys.
"""
