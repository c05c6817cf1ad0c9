"""Notebook-style service: the request contains the features, and pandas and scikit-learn score them, without state.

`naive.py PORT MODEL`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel


class Asked(BaseModel):
    """Request with features by name."""

    features: dict[str, Any]


def app(path: Path) -> FastAPI:
    """Return the application."""
    made = FastAPI()
    model = joblib.load(path)

    @made.post("/score")
    def score(asked: Asked) -> dict[str, float]:
        row = pd.DataFrame([asked.features], columns=model.feature_names_in_, dtype="float64")
        return {"score": float(model.predict_proba(row)[0, 1])}

    return made


if __name__ == "__main__":
    uvicorn.run(app(Path(sys.argv[2])), port=int(sys.argv[1]), access_log=False, log_level="warning")
