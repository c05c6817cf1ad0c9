"""Words in column names of bank exports: English, German, French, Spanish, Italian, Dutch, Portuguese, and core-banking systems."""

from __future__ import annotations

import re
import unicodedata

from fraud3000.data.reading.columns import snake_case

ROLES: dict[str, tuple[str, ...]] = {
    "transaction_id": (
        r"(transaction|trans|trx|txn|tx|tran|trn|buchungs?|umsatz|operation|operacion|operazione|transactie|transacao|transaccion|operacao|movimento|payment|auth)s?_?(id|num|nr|no|number|ref|reference|referenz|nummer|code|key|seq|identifier|numero)",
        r"(id|num|numero|ref|reference)_(transaction|trx|txn|tx|trans|operation|operacion|operazione|transactie|transacao|transaccion|operacao|movimento)",
        r"rrn|retrieval_?ref.*|arn|acquirer_?ref.*|stan|uetr|end_?to_?end_?id|reference|referenz|referencia|riferimento|referentie|ref",
        r"(id|uuid|guid|transaktions?_?(id|nr|nummer)|transaktion)",
    ),
    "ts": (
        r"(transaction|trans|trx|txn|tx|tran|trn|auth|authori[sz]ation|purchase|payment|local|event|booking|operation)_?(date|time|datetime|ts|timestamp|dt|dttm|dttime)(_?time|_?utc|_?local)?(_trans_time)?",
        r"(ts|timestamp|datetime|date_?time|time|date|event_?time|created_?at|occurred_?at|booked.*|posted_?at|when)",
        r"(datum|zeit|zeitpunkt|zeitstempel|buchungs?_?(datum|zeit|tag)|transaktions?_?(datum|zeit|zeitpunkt)|umsatz_?(datum|zeit)|uhrzeit)",
        r"(date_?(operation|transaction|heure)|horodatage|heure(_operation)?)",
        r"(fecha(_.*)?|hora(_.*)?|data(_ora)?(_operazione|_transazione|_transacao|_hora)?|ora|data_operacao|transactie_?(datum|tijd)|tijd(stip)?)",
        r"trans_date_trans_time|dat_?trx|dt_?trx|trxdt|dattim|tx_datetime|tx_time.*|unix_?time",
    ),
    "card_id": (
        r"(card|cc|pan|karte|karten|carte|tarjeta|carta|kaart|cartao)_?(id|num|nr|no|number|nummer|token|hash|ref|numero|key)?",
        r"(hashed|masked|tokeni[sz]ed|encrypted)_?(pan|card.*)|pan_?(hash|token|id)|(id|num|numero|no|n)_?(card|carte|tarjeta|carta|cartao|kaart)",
        r"kartennummer|karten_?nr|kartentoken|kaartnummer|dpan|fpan|primary_account_number|crdnbr|crd_?no",
        r"customer_?id|client_?id|account_?(id|no|number|token)|user_?id|kunden_?(nr|nummer|id)|kunde|konto_?(nr|nummer)?|iban|id_client|cliente(_id)?|id_cliente|klant_?(id|nr|nummer)|user|customer|acct.*|nameorig",
    ),
    "terminal_id": (
        r"(terminal|term|tid|pos)_?(id|nr|no|num|number|nummer|code)?|terminal_?kennung",
        r"(merchant|merch|mid|acceptor|shop|store|payee|retailer|haendler|handler|handels|commercant|comercio|comerciante|esercente|winkel|handelaar|lojista|estabelecimento)_?(id|nr|no|num|number|nummer|name|code|naam|nom|nombre|nome)?",
        r"card_acceptor.*|caid|(id|nom|nombre|nome|code)_(commercant|marchand|comercio|esercente|merchant)|marchand|negozio|tienda|mrchnt.*|namedest",
    ),
    "amount": (
        r"(transaction|trans|trx|txn|tx|tran|billing|local|total|purchase|auth|settlement)?_?(amount|amt|value|sum)(_?(eur|usd|gbp|chf|local|minor|cents|gross|trx|txn))?",
        r"(umsatz|betrag|summe|wert|umsatzbetrag|buchungsbetrag|transaktionsbetrag)(_?(eur|in_eur|usd|chf))?",
        r"montant(_?(eur|operation|transaction))?|importe(_.*)?|monto(_.*)?|importo(_.*)?|bedrag(_.*)?|valor(_.*)?|quantia",
    ),
    "is_fraud": (
        r"(is_?|tx_?|confirmed_?|known_?)?fraud(_?(flag|label|ind|indicator|yn|status|confirmed|marker|reported|class))?",
        r"(is_?)?(fraude|frode|betrug|betrugs?_?(kennzeichen|flag|fall|kz)|fraude_?(flag|ind|sn|oui_non|bevestigd)?|betrogen)|fraudulent|fraudulento|frauduleux",
        r"(charge_?back|cb)(_?(flag|ind|yn))?|disputed?|label|class|target|scam|es_fraude|e_fraude|is_frode|fraudflag|is_fraud.*",
    ),
    "reported_at": (
        r"(fraud_?|cb_?|chargeback_?|dispute_?)?(report(ed)?|notification|notified|confirmed|confirmation|received|claim|dispute|chargeback|cb)_?(at|on|date|time|datetime|ts|dt)",
        r"(melde|gemeldet|meldungs?|betrugs?melde|rueckbuchungs?|reklamations?|chargeback)_?(datum|am|zeit|tag)?|gemeldet_am",
        r"date_?(signalement|declaration|chargeback|litige|fraude)|fecha_?(reporte|denuncia|contracargo|fraude)|data_?(segnalazione|denuncia|chargeback|contestacao)|meld_?datum|gemeld_op",
    ),
    "status": (
        r"(response|resp|rsp|result|action|auth|authori[sz]ation|decision|approval)_?(code|cd|status|result|response)?|(iso)?_?(de39|field_?39|bit_?39|p39|rc)",
        r"(transaction|trans|trx|txn)?_?(status|state|outcome|result)|antwort_?code|ergebnis|status_?code|code_?reponse|codigo_?respuesta|codice_?risposta|antwoord_?code|codigo_?resposta|estado|etat|stato|errors?",
    ),
    "currency": (
        r"(transaction|trans|trx|txn|billing|local)?_?(currency|curr|ccy|cur)(_?(code|cd|iso|num))?",
        r"waehrung|wahrung|devise|monnaie|moneda|divisa|valuta|moeda|whg|wae",
    ),
    "card_lat": (r"(card|customer|cust|home|user|cardholder|holder)_?lat(itude)?|lat(itude)?",),
    "card_long": (r"(card|customer|cust|home|user|cardholder|holder)_?(long?|lng)(itude)?|long?(itude)?|lng",),
    "terminal_lat": (r"(terminal|term|merchant|merch|pos|shop|store)_?lat(itude)?",),
    "terminal_long": (r"(terminal|term|merchant|merch|pos|shop|store)_?(long?|lng)(itude)?",),
    "seq": (r"seq|sequence(_?(no|number|num))?|arrival(_?(no|order|seq))?|load_?(no|seq)|lfd_?nr",),
}
"""Patterns of normalised names for each role; earlier patterns are surer."""

CLOCK = re.compile(r".*(time|zeit|heure|hora|ora|tijd|uhrzeit)$")
"""A column with the time of day beside a column with the date."""
SECRET = re.compile(r"(.*_)?(cvv2?|cvc2?|cav2?|csc|pin|pin_?block|track_?(1|2|3|data)?|magstripe)(_.*)?")
"""Authentication data of cards, which must not be stored."""
PERSONAL = re.compile(
    r"(.*_)?(first|last|sur|full|given|family|vor|nach|holder|cardholder|customer|kunden)_?name(_.*)?|name|vorname|nachname|nom|prenom|nombre|apellido|nome|cognome|naam"
    r"|first|last|(.*_)?(street|strasse|rue|calle|via|straat|rua|address|adresse|direccion|indirizzo|adres|endereco|city|town|ort|stadt|ville|ciudad|citta|plaats|cidade"
    r"|zip|plz|postcode|postal_?code|email|e_?mail|phone|telefon|mobile|dob|birth.*|geburtsdatum|job|gender|sex|ssn|passport)(_.*)?"
)
"""Names and addresses of persons."""
ANSWER = re.compile(
    r"(tx_)?fraud_?scenario|(fraud|betrugs?|fraude)_?(type|typ|kind|reason|art|tipo|loss|amount|schaden|score)|chargeback_?(reason|amount|code|id).*|reason_?code_?cb|case_?(id|status).*|dispute_?(reason|status|id)"
)
"""Columns that are only known once the fraud is."""
FREE_TEXT = re.compile(
    r"(.*_)?(text|memo|comment|comments|remark|note|notes|description|beschreibung|verwendungszweck|narrative|bemerkung|libelle|commentaire|descripcion|descrizione|omschrijving|descricao)"
)
"""Text that people or programs wrote."""
CATEGORY = re.compile(
    r"(.*_)?(mcc|sic|category.*|kategorie|channel|kanal|canal|canale|kanaal|entry_?mode|pos_?(entry|mode|code).*|country.*|land|pays|pais|paese|type|typ|tipo|brand|scheme|device.*|region|state|use_?chip|product.*|card_?type|merchant_?(state|country)|bin|issuer.*|3ds|secure)"
)
"""Columns that are categories whatever their values look like."""


_FILLERS = {
    *("de", "del", "della", "dello", "la", "le", "du", "van", "der", "des", "do", "da", "di", "the", "of"),
    *(
        "hash",
        "hashed",
        "gehasht",
        "hache",
        "masked",
        "maskiert",
        "token",
        "anonymous",
        "anonym",
        "sha256",
        "local",
        "lokal",
    ),
}
"""Words in names that say nothing about the role."""


def normalised(name: str) -> str:
    """A name in ASCII snake case, with umlauts written out.

    Examples
    --------
    >>> normalised("Händler-Nr."), normalised("Numéro de carte"), normalised("TX_AMOUNT")
    ('haendler_nr', 'numero_carte', 'tx_amount')
    """
    for sign, spelled in (("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("ß", "ss"), ("Ä", "Ae"), ("Ö", "Oe"), ("Ü", "Ue")):
        name = name.replace(sign, spelled)
    text = "".join(sign for sign in unicodedata.normalize("NFKD", name) if not unicodedata.combining(sign))
    return "_".join(word for word in snake_case(text, 1).split("_") if word not in _FILLERS)


def strength(role: str, name: str) -> float:
    """How surely a normalised name means a role: 1 for the first pattern of the role that matches, less for later ones, 0 for none.

    Examples
    --------
    >>> strength("amount", "betrag"), strength("card_id", "customer_id") < strength("card_id", "card_no"), strength("amount", "mcc")
    (0.9, True, 0.0)
    """
    for place, pattern in enumerate(ROLES[role]):
        if re.fullmatch(pattern, name):
            return round(1.0 - 0.1 * place, 1)
    return 0.0
