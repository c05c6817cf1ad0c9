"""Meanings of values in bank exports: labels, statuses and response codes, currencies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

FRAUD = frozenset({
    "1", "1.0", "true", "t", "yes", "y", "j", "ja", "oui", "o", "si", "sí", "s", "sim", "v", "vero", "wahr", "vrai",
    "fraud", "f", "fraudulent", "confirmed", "confirmed fraud", "betrug", "betrogen", "fraude", "frode", "cb", "chargeback", "bad", "scam",
})  # fmt: skip
LEGITIMATE = frozenset({
    "0", "0.0", "false", "no", "n", "nein", "non", "nee", "nao", "não", "falso", "falsch", "faux", "legit", "legitimate",
    "genuine", "g", "ok", "good", "normal", "clean", "not fraud", "non-fraud", "no fraud", "kein betrug", "ohne", "l",
})  # fmt: skip
UNLABELLED = frozenset(
    {"unknown", "pending", "open", "offen", "unbekannt", "inconnu", "in review", "under review", "?"}
)

_APPROVED_CODES = frozenset({"00", "000", "0", "08", "10", "11", "85", "0000"})
_DECLINED_CODES = frozenset({
    "01", "02", "03", "04", "05", "06", "07", "12", "13", "14", "15", "19", "25", "30", "33", "34", "36", "38", "39", "41", "43", "46", "51",
    "52", "53", "54", "55", "56", "57", "58", "59", "61", "62", "63", "65", "68", "70", "75", "76", "77", "78", "79", "80", "82", "86",
    "87", "88", "89", "91", "92", "93", "94", "96", "98", "99",
})  # fmt: skip
_APPROVED = frozenset({
    "", "approved", "approve", "accepted", "accept", "authorised", "authorized", "success", "successful", "ok", "a", "completed",
    "complete", "captured", "settled", "cleared", "posted", "purchase", "sale", "pos", "payment", "genehmigt", "autorisiert",
    "bewilligt", "erfolgreich", "gebucht", "kauf", "zahlung", "accepte", "accepté", "acceptée", "approuve", "approuvé", "achat", "paiement",
    "aprobada", "aprobado", "compra", "pago", "approvata", "approvato", "acquisto", "pagamento", "goedgekeurd", "aankoop", "betaling",
    "aprovada", "aprovado", "reversed", "valid", "y", "yes",
})  # fmt: skip
_DECLINED = frozenset({
    "declined", "decline", "rejected", "reject", "refused", "denied", "deny", "failed", "failure", "error", "d", "blocked", "abgelehnt",
    "gesperrt", "fehlgeschlagen", "refuse", "refusé", "refusée", "rejete", "rejeté", "denegada", "denegado", "rechazada", "rechazado",
    "rifiutata", "rifiutato", "negata", "negato", "geweigerd", "afgewezen", "negada", "negado", "recusada", "recusado", "insufficient funds",
    "decl", "nok", "ko", "timeout", "cancelled", "canceled", "n", "no",
})  # fmt: skip
_REFUND = frozenset({
    "refund", "refunded", "credit", "credit note", "return", "r", "gutschrift", "rueckerstattung", "rückerstattung", "erstattung",
    "remboursement", "avoir", "devolucion", "devolución", "reembolso", "rimborso", "terugbetaling", "estorno", "ref",
})  # fmt: skip

CURRENCIES: dict[str, str] = {
    **{code: code for code in (
        "AED", "ARS", "AUD", "BGN", "BHD", "BRL", "CAD", "CHF", "CLP", "CNY", "COP", "CZK", "DKK", "EGP", "EUR", "GBP", "HKD", "HUF",
        "IDR", "ILS", "INR", "IQD", "ISK", "JOD", "JPY", "KES", "KRW", "KWD", "LYD", "MAD", "MXN", "MYR", "NGN", "NOK", "NZD", "OMR",
        "PEN", "PHP", "PKR", "PLN", "PYG", "QAR", "RON", "RSD", "RUB", "SAR", "SEK", "SGD", "THB", "TND", "TRY", "TWD", "UAH", "UGX",
        "USD", "UYU", "VND", "XAF", "XOF", "ZAR",
    )},
    "036": "AUD", "124": "CAD", "156": "CNY", "208": "DKK", "344": "HKD", "356": "INR", "392": "JPY", "410": "KRW", "484": "MXN",
    "578": "NOK", "702": "SGD", "710": "ZAR", "752": "SEK", "756": "CHF", "784": "AED", "826": "GBP", "840": "USD", "949": "TRY",
    "978": "EUR", "985": "PLN", "986": "BRL", "203": "CZK", "348": "HUF", "946": "RON", "048": "BHD", "414": "KWD", "512": "OMR",
}  # fmt: skip
"""Codes of ISO 4217, alphabetic and numeric, to the alphabetic code."""
DECIMALS = {
    **dict.fromkeys(("CLP", "ISK", "JPY", "KRW", "PYG", "UGX", "VND", "XAF", "XOF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}
"""Decimals of currencies with another number than two (ISO 4217)."""


def label_values(values: Sequence[str]) -> bool | None:
    """True if all values have a known meaning as labels, and one is fraud; None if some have not."""
    known = FRAUD | LEGITIMATE | UNLABELLED | {""}
    return True if set(values) <= known and set(values) & FRAUD else None


def label_format(values: Sequence[str], *, blank: bool) -> tuple[dict[str, Any], bool]:
    """State the meanings of the values of a label column.

    Parameters
    ----------
    values
        Distinct values in lower case, the most frequent first.
    blank
        Whether some rows have no value.

    Returns
    -------
    tuple
        Keys of `prepare.mapping.label`, and whether all meanings are known. Without a known meaning, the most frequent
        value is legitimate. Empty values are legitimate if no other value is, since such files only mark frauds.

    Examples
    --------
    >>> label_format(["n", "j"], blank=False)
    ({'fraud': ['j'], 'legitimate': ['n']}, True)
    >>> label_format(["betrug"], blank=True)
    ({'fraud': ['betrug'], 'legitimate': [''], 'unlabelled': []}, True)
    """
    fraud = [value for value in values if value in FRAUD]
    legitimate = [value for value in values if value in LEGITIMATE]
    unlabelled = [value for value in values if value in UNLABELLED]
    unknown = [value for value in values if value not in FRAUD | LEGITIMATE | UNLABELLED]
    sure = not unknown and bool(fraud)
    if len(fraud) == 2 and not legitimate and set(fraud) & {"f"}:  # F and T, or F and V: false and true
        fraud, legitimate = [value for value in fraud if value != "f"], ["f"]
    for value in unknown:
        (legitimate if not legitimate and value == values[0] and (len(values) > 1) else fraud).append(value)
    if blank and not legitimate:
        return {"fraud": fraud, "legitimate": [""], "unlabelled": unlabelled}, sure
    form: dict[str, Any] = {"fraud": fraud, "legitimate": legitimate}
    if unlabelled:
        form["unlabelled"] = ["", *unlabelled]
    return form, sure


def currency_fit(text: pl.Series) -> float:
    """1 if the values are currency codes of ISO 4217, else 0."""
    codes = text.str.strip_chars().str.to_uppercase()
    return float(float(codes.is_in(list(CURRENCIES)).mean() or 0.0) > 0.95)  # type: ignore[arg-type]


def status_fit(text: pl.Series) -> float:
    """How well values are statuses or response codes, from 0 to 1."""
    folded = text.str.strip_chars().str.to_lowercase()
    known = _APPROVED | _DECLINED | _REFUND | _APPROVED_CODES | _DECLINED_CODES
    share = float(folded.is_in(list(known)).mean() or 0.0)  # type: ignore[arg-type]
    codes = float(folded.str.contains(r"^[0-9a-z]{1,4}$").mean() or 0.0)  # type: ignore[arg-type]
    distinct = set(folded.unique().to_list())
    if distinct <= {"0", "1"}:
        return 0.0
    return 1.0 if share > 0.9 else 0.8 if share > 0.5 and codes > 0.9 else 0.6 if share > 0.5 else 0.0


def status_format(values: Sequence[str], *, blank: bool) -> tuple[dict[str, Any], list[str]]:
    """State the meanings of the values of a status column.

    Returns
    -------
    tuple
        Keys of `prepare.mapping.status`, and the values whose meaning is unknown; they are read as declined.

    Examples
    --------
    >>> form, unknown = status_format(["00", "51", "A7"], blank=False)
    >>> form["approved"], form["otherwise"], unknown
    (['00'], 'declined', ['A7'])
    >>> status_format(["genehmigt", "abgelehnt"], blank=False)[0]["declined"]
    ['abgelehnt']
    """
    stripped = sorted({value.strip() for value in values})
    codes = sum(value in _APPROVED_CODES | _DECLINED_CODES for value in stripped) > len(stripped) / 2
    approved_words = _APPROVED_CODES if codes else _APPROVED | _APPROVED_CODES
    declined_words = _DECLINED_CODES | _DECLINED
    approved = [value for value in stripped if value.lower() in approved_words]
    declined = [value for value in stripped if value.lower() in declined_words and value not in approved]
    refund = [value for value in stripped if value.lower() in _REFUND and value not in approved]
    unknown = [value for value in stripped if value not in {*approved, *declined, *refund}]
    form: dict[str, Any] = {"approved": [*([""] if blank else []), *approved], "declined": declined, "refund": refund}
    if codes or unknown:
        form["otherwise"] = "declined"
    return form, unknown
