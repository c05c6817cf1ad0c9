"""Exports as banks write them, from simulated transactions, so that the truth is known."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

Row = dict[str, Any]
Cell = Callable[[Row], str]


@dataclass(frozen=True)
class Export:
    """How an export is written, and what is true of it.

    Attributes
    ----------
    columns
        Column name to the text of its cell.
    roles
        Role to the column or columns that `init` must find.
    answers
        Edits of the params file that settle what `init` leaves open: a line to the line that replaces it.
    """

    columns: Mapping[str, Cell]
    roles: Mapping[str, Any]
    separator: str = ","
    encoding: str = "utf-8"
    title: str = ""
    footer: str = ""
    answers: Mapping[str, str] = field(default_factory=dict)
    chargebacks: Mapping[str, Cell] | None = None


def rows(count: int = 6_000, seed: int = 7) -> list[Row]:
    """Transactions of 120 days, about one in a hundred of them a fraud; amounts in cents."""
    random = Random(seed)
    start = datetime(2024, 1, 1, tzinfo=UTC)
    made = []
    for number in range(count):
        fraud = random.random() < 0.012
        ts = start + timedelta(days=120) * (number / count) + timedelta(seconds=random.randrange(600))
        report = ts + timedelta(days=1 + random.randrange(6), hours=random.randrange(24)) if fraud else None
        made.append(
            {
                "id": f"{number:08}",
                "ts": ts,
                "card": random.randrange(150),
                "shop": random.randrange(60),
                "cents": random.randrange(20_000, 200_000) if fraud else random.randrange(100, 15_000),
                "fraud": fraud,
                "report": report,
                "mcc": random.choice(["5411", "5812", "0742", "4111", "5999"]),
                "code": "00" if fraud else random.choice(["00"] * 18 + ["51", "05"]),
                "channel": random.choice(["POS", "ECOM", "ATM"]),
            }
        )
    return made


def write(export: Export, folder: Path, made: list[Row], name: str = "export.csv") -> list[str]:
    """Write an export, and its file of chargebacks; returns their names."""
    (folder / name).write_bytes(_text(export.columns, export, made).encode(export.encoding))
    if export.chargebacks is None:
        return [name]
    frauds = [row for row in made if row["fraud"]]
    (folder / "chargebacks.csv").write_bytes(_text(export.chargebacks, export, frauds).encode(export.encoding))
    return [name, "chargebacks.csv"]


def _text(columns: Mapping[str, Cell], export: Export, made: list[Row]) -> str:
    output = io.StringIO()
    writer = csv.writer(output, delimiter=export.separator, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows([cell(row) for cell in columns.values()] for row in made)
    return f"{export.title}{output.getvalue()}{export.footer}"


def at(pattern: str, zone: str = "UTC", key: str = "ts") -> Cell:
    return lambda row: row[key].astimezone(ZoneInfo(zone)).strftime(pattern) if row[key] else ""


def money(decimal: str = ".", groups: str = "", sign: str = "") -> Cell:
    def text(row: Row) -> str:
        whole, cents = divmod(row["cents"], 100)
        return f"{whole:,}".replace(",", groups) + f"{decimal}{cents:02}{sign}"

    return text


def yes(word: str, other: str = "") -> Cell:
    return lambda row: word if row["fraud"] else other


def text(key: str) -> Cell:
    return lambda row: str(row[key])


def hashed(row: Row) -> str:
    return hashlib.sha256(str(row["card"]).encode()).hexdigest()[:32]


def card_number(row: Row) -> str:
    """A number that passes the check digit, of a range that no issuer uses for customers."""
    digits = f"400000{row['card']:09}"
    total = sum(sum(divmod(int(d) * (2 - n % 2), 10)) for n, d in enumerate(digits, start=1 - len(digits) % 2 + 1))
    odd = sum(sum(divmod(int(d) * 2, 10)) for d in digits[-1::-2]) + sum(int(d) for d in digits[-2::-2])
    del total
    return digits + str(-odd % 10)


ALL: dict[str, Export] = {
    "German, separate date and time": Export(
        {
            "Umsatz-Nr.": text("id"),
            "Buchungsdatum": at("%d.%m.%Y"),
            "Uhrzeit": at("%H:%M:%S"),
            "Karten-Nr. (gehasht)": hashed,
            "Händler-ID": text("shop"),
            "Betrag": money(",", "."),
            "Währung": lambda _: "EUR",
            "MCC": text("mcc"),
            "Antwortcode": text("code"),
            "Betrug": yes("J", "N"),
            "Meldedatum": at("%d.%m.%Y", key="report"),
            "Verwendungszweck": lambda row: f"Kauf {row['id']} bei Händler {row['shop']} im Ort",
        },
        {
            "transaction_id": "Umsatz-Nr.", "ts": ["Buchungsdatum", "Uhrzeit"], "card_id": "Karten-Nr. (gehasht)", "terminal_id": "Händler-ID",
            "amount": "Betrag", "status": "Antwortcode", "is_fraud": "Betrug", "reported_at": "Meldedatum",
        },
        separator=";", encoding="cp1252",
    ),
    "French, a fraud has a date": Export(
        {
            "Numéro opération": text("id"),
            "Date opération": at("%d/%m/%Y %H:%M:%S"),
            "Numéro carte": lambda row: f"K{row['card']:05}",
            "Commerçant": lambda row: f"M{row['shop']:04}",
            "Montant": money(",", "\u202f"),
            "Canal": text("channel"),
            "Date signalement": at("%d/%m/%Y", key="report"),
        },
        {
            "transaction_id": "Numéro opération", "ts": "Date opération", "card_id": "Numéro carte", "terminal_id": "Commerçant",
            "amount": "Montant", "is_fraud": "Date signalement", "reported_at": "Date signalement",
        },
        separator=";",
    ),
    "Spanish, chargebacks in another file": Export(
        {
            "id_transaccion": text("id"),
            "fecha_hora": at("%Y-%m-%d %H:%M:%S"),
            "id_cliente": text("card"),
            "comercio": lambda row: f"C{row['shop']:03}",
            "importe": money(","),
            "estado": lambda row: "Aprobada" if row["code"] == "00" else "Denegada",
        },
        {
            "transaction_id": "id_transaccion", "ts": "fecha_hora", "card_id": "id_cliente", "terminal_id": "comercio",
            "amount": "importe", "status": "estado",
        },
        separator=";", encoding="latin-1",
        chargebacks={"id_transaccion": text("id"), "fecha_contracargo": at("%Y-%m-%d", key="report")},
    ),
    "Italian, tabs and UTF-16": Export(
        {
            "ID operazione": text("id"),
            "Data operazione": at("%d/%m/%Y %H:%M"),
            "Carta": lambda row: f"IT{row['card']:06}",
            "Esercente": lambda row: f"E{row['shop']:04}",
            "Importo": money(",", "."),
            "Frode": yes("sì".replace("ì", "i"), "no"),
        },
        {"transaction_id": "ID operazione", "ts": "Data operazione", "card_id": "Carta", "terminal_id": "Esercente", "amount": "Importo", "is_fraud": "Frode"},
        separator="\t", encoding="utf-16",
    ),
    "Dutch, title and total": Export(
        {
            "transactie_id": text("id"),
            "transactiedatum": at("%d-%m-%Y %H:%M:%S"),
            "kaartnummer": lambda row: f"NL-{row['card']:05}",
            "winkel": lambda row: f"W{row['shop']}",
            "bedrag": money(","),
            "fraude": yes("ja", "nee"),
        },
        {"transaction_id": "transactie_id", "ts": "transactiedatum", "card_id": "kaartnummer", "terminal_id": "winkel", "amount": "bedrag", "is_fraud": "fraude"},
        separator=";", title="Export transacties 2024\r\n\r\n", footer="Totaal;6000\r\n",
    ),
    "Portuguese, no separator of thousands": Export(
        {
            "id_transacao": text("id"),
            "data_hora": at("%Y/%m/%d %H:%M:%S"),
            "id_cartao": text("card"),
            "estabelecimento": lambda row: f"L{row['shop']}",
            "valor": money(","),
            "fraude": yes("sim", "não"),
        },
        {"transaction_id": "id_transacao", "ts": "data_hora", "card_id": "id_cartao", "terminal_id": "estabelecimento", "amount": "valor", "is_fraud": "fraude"},
        separator=";",
    ),
    "processor, ISO 8583, epoch": Export(
        {
            "RRN": lambda row: f"4{row['id']}",
            "TRAN_TS": lambda row: str(int(row["ts"].timestamp())),
            "PAN": card_number,
            "TID": lambda row: f"{row['shop']:08}",
            "TRAN_AMT": money(),
            "CCY": lambda _: "978",
            "DE39": text("code"),
            "MCC": text("mcc"),
            "FRAUD_IND": yes("1", "0"),
        },
        {"transaction_id": "RRN", "ts": "TRAN_TS", "card_id": "PAN", "terminal_id": "TID", "amount": "TRAN_AMT", "status": "DE39", "is_fraud": "FRAUD_IND"},
        separator="|",
    ),
    "core banking, compact times, cents": Export(
        {
            "TRX_ID": text("id"),
            "TRXDT": at("%Y%m%d%H%M%S"),
            "ACCT_NO": lambda row: f"{row['card']:010}",
            "MRCHNT_ID": lambda row: f"{row['shop']:06}",
            "AMT_CENTS": text("cents"),
            "STATUS": lambda row: "APPROVED" if row["code"] == "00" else "DECLINED",
            "CHARGEBACK_FLAG": yes("Y", "N"),
            "CHARGEBACK_DATE": at("%Y%m%d", key="report"),
        },
        {
            "transaction_id": "TRX_ID", "ts": "TRXDT", "card_id": "ACCT_NO", "terminal_id": "MRCHNT_ID", "amount": "AMT_CENTS", "status": "STATUS",
            "is_fraud": "CHARGEBACK_FLAG", "reported_at": "CHARGEBACK_DATE",
        },
    ),
    "payment gateway, ISO times, signs": Export(
        {
            "payment_id": lambda row: hashlib.md5(row["id"].encode(), usedforsecurity=False).hexdigest(),
            "created_at": at("%Y-%m-%dT%H:%M:%SZ"),
            "customer_id": lambda row: f"cus_{row['card']}",
            "merchant_id": lambda row: f"mer_{row['shop']}",
            "amount": lambda row: f"${money('.', ',')(row)}",
            "card_country": lambda row: "DE" if row["card"] % 3 else "US",
            "email": lambda row: f"person{row['card']}@example.org",
            "is_fraud": yes("true", "false"),
        },
        {"transaction_id": "payment_id", "ts": "created_at", "card_id": "customer_id", "terminal_id": "merchant_id", "amount": "amount", "is_fraud": "is_fraud"},
    ),
    "American, months first": Export(
        {
            "Transaction Date": at("%m/%d/%Y %I:%M:%S %p"),
            "Card Number": lambda row: f"****-{row['card']:04}",
            "Merchant Name": lambda row: f"Store {row['shop']}",
            "Amount": money(".", ","),
            "Fraud": yes("Yes", "No"),
        },
        {"ts": "Transaction Date", "card_id": "Card Number", "terminal_id": "Merchant Name", "amount": "Amount", "is_fraud": "Fraud"},
    ),
    "without cards and ids": Export(
        {"time": at("%Y-%m-%d %H:%M:%S"), "value": money(), "V1": lambda row: f"{row['cents'] % 97 / 31:.6f}", "Class": yes("1", "0")},
        {"ts": "time", "amount": "value", "is_fraud": "Class"},
    ),
    "two labels": Export(
        {
            "txn_id": text("id"),
            "timestamp": at("%Y-%m-%d %H:%M:%S"),
            "card_hash": hashed,
            "merchant": lambda row: f"m{row['shop']}",
            "amount": money(),
            "fraud_flag": yes("1", "0"),
            "is_fraud": yes("1", "0"),
        },
        {"transaction_id": "txn_id", "ts": "timestamp", "card_id": "card_hash", "terminal_id": "merchant", "amount": "amount"},
        answers={"      # is_fraud: fraud_flag": "      is_fraud: fraud_flag", "      - fraud_flag  # may be the label\n": ""},
    ),
}  # fmt: skip
"""Twelve exports: six languages, processors and core banking, labels as a flag, a date or a file, with and without cards."""


def frauds(made: list[Row]) -> int:
    return sum(row["fraud"] for row in made)


def names(export: Export) -> Iterator[str]:
    yield from export.columns
