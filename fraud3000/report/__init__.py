"""Evaluation report as one HTML page, and model card in Markdown.

Start with `html_page.py`; `sections.py` composes the page, `plots.py` draws, `tables.py` computes the data of each plot.
"""
