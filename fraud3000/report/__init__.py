"""Evaluation report as one HTML page, and model card in Markdown.

Start with `html_page.py`; `evaluation_sections.py` composes the page, `plots.py` draws, `tables.py` and `groups.py`
compute the data of each plot. `metric_text.py` formats metrics, also for the terminal and the promotion checks.
"""
