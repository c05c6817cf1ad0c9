"""The report of an evaluation: tables, pictures, the page and the model card."""
