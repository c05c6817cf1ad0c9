"""The evaluation report as one HTML page and a model card in Markdown.

Start with `html_page.py`; `sections.py` composes the page, `plots.py` draws, `tables.py` computes what is drawn.
"""
