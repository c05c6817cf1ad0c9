"""The scorer over HTTP; each decision is durable before the response is sent.

`http` parses requests, `engine` decides, `journal` stores, `maintenance` runs in the background. Start with
`engine/decision_engine.py`.
"""
