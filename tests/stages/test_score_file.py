"""score-file: same scores whatever the order, the cut or the form of the file; nothing lost."""

from pathlib import Path

import polars as pl
import pytest

from fraud3000 import params as params_files
from fraud3000.data.cleaning import cards
from fraud3000.errors import DataError, ParamsError, ScorerError
from fraud3000.schema import SCORED
from fraud3000.stages.score_file import score_file
from fraud3000.stages.shared.history import in_both

RAW = "data/raw/transactions.parquet"


@pytest.fixture(scope="session")
def answers(trained, tmp_path_factory):
    """The whole raw file, scored at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(trained)
        return run(RAW, tmp_path_factory.mktemp("answers"), cold_start=True)


def run(source, place, *, params=None, **how):
    out = place / "scored.parquet"
    score_file(str(source), params, out=out, model="challenger", **how)
    return pl.read_parquet(out)


def scores(frame):
    return frame.select("transaction_id", "score", "alert", "threshold").sort("transaction_id")


def test_one_answer_for_each_row_in_input_order(in_trained, answers):
    assert answers.schema == pl.Schema(SCORED)
    assert answers["transaction_id"].equals(pl.read_parquet(RAW)["transaction_id"])
    assert answers["score"].is_between(0, 1, closed="none").all()
    assert answers["model_version"].unique().to_list() == ["1"]


def test_row_order_does_not_matter(in_trained, answers, tmp_path):
    shuffled = pl.read_parquet(RAW).sample(fraction=1, shuffle=True, seed=1)
    shuffled.write_parquet(tmp_path / "shuffled.parquet")
    again = run(tmp_path / "shuffled.parquet", tmp_path, cold_start=True)
    assert again["transaction_id"].equals(shuffled["transaction_id"])
    assert scores(again).equals(scores(answers))


def test_a_prepared_file_scores_as_its_raw_form(in_trained, answers, tmp_path):
    again = run("data/interim/transactions.parquet", tmp_path, cold_start=True)
    assert scores(again).equals(scores(answers))


def test_csv_scores_as_parquet(in_trained, answers, tmp_path):
    pl.read_parquet(RAW).tail(500).write_csv(tmp_path / "new.csv")
    again = run(tmp_path / "new.csv", tmp_path)
    assert scores(again).equals(scores(answers.tail(500)))


def test_history_given_or_from_the_workspace_is_the_same(in_trained, answers, tmp_path):
    raw = pl.read_parquet(RAW)
    raw.head(18_000).write_parquet(tmp_path / "before.parquet")
    raw.tail(2_000).write_parquet(tmp_path / "new.parquet")
    from_file = run(tmp_path / "new.parquet", tmp_path, history=str(tmp_path / "before.parquet"))
    from_workspace = run(tmp_path / "new.parquet", tmp_path)
    assert scores(from_file).equals(scores(answers.tail(2_000)))
    assert scores(from_workspace).equals(scores(from_file))


def test_scores_do_not_depend_on_later_rows(in_trained, answers, tmp_path):
    pl.read_parquet(RAW).head(15_000).write_parquet(tmp_path / "early.parquet")
    loaded = params_files.load().model_copy(update={"workspace": str(tmp_path / "nothing")})
    early = run(tmp_path / "early.parquet", tmp_path, params=loaded, cold_start=True)
    assert scores(early).equals(scores(answers.head(15_000)))


def test_short_history_is_refused_unless_cold_start(in_trained, tmp_path):
    with pytest.raises(DataError, match=r"only 0\.0 days lie before the first row .* needs 90d") as refused:
        run(RAW, tmp_path)
    assert "--cold-start" in refused.value.hint
    assert not list(tmp_path.iterdir())


def test_duplicates_repeat_and_conflicts_are_rejected(in_trained, answers, tmp_path):
    raw = pl.read_parquet(RAW).tail(300)
    other = raw.head(1).with_columns(amount=pl.col("amount") + 1)
    pl.concat([raw, raw.head(2), other]).write_parquet(tmp_path / "again.parquet")
    scored = run(tmp_path / "again.parquet", tmp_path)
    rejected = pl.read_parquet(tmp_path / "scored.rejected.parquet")
    assert scored.height + rejected.height == 303
    assert scored.tail(2).equals(scored.head(2))
    assert rejected["reason"].to_list() == ["conflicting_duplicate"]


def test_alerts_have_reasons_and_others_do_not(in_trained, answers):
    alerted = answers.filter("alert")
    assert alerted.height
    assert alerted["reason_1"].is_not_null().mean() > 0.9
    assert answers.filter(~pl.col("alert"))["reason_1"].is_null().all()
    ids = set(pl.read_parquet(RAW)["card_id"])
    assert not any(word in ids for text in alerted["reason_1"].drop_nulls() for word in text.split())


@pytest.mark.parametrize(("reasons", "some"), [("all", True), ("none", False)])
def test_reasons_for_all_or_none(in_trained, tmp_path, reasons, some):
    pl.read_parquet(RAW).tail(200).write_parquet(tmp_path / "new.parquet")
    scored = run(tmp_path / "new.parquet", tmp_path, reasons=reasons)
    assert scored["reason_1"].is_not_null().any() == some


def test_the_alert_rule_is_the_threshold(in_trained, answers):
    assert answers.select(((pl.col("score") >= pl.col("threshold")) == pl.col("alert")).all()).item()


@pytest.mark.parametrize(
    ("source", "scored"),
    [
        ("march.2024.csv", "march.2024.scored.parquet"),
        ("march.2024.csv.gz", "march.2024.scored.parquet"),
        ("2024.03", "2024.03.scored.parquet"),
        ("2024.03/.", "2024.03.scored.parquet"),
        ("2024.03/in/..", "2024.03.scored.parquet"),
    ],
)
def test_scores_lie_beside_the_input_under_its_name(in_trained, tmp_path, source, scored):
    new = pl.read_parquet(RAW).tail(20)
    (tmp_path / "2024.03" / "in").mkdir(parents=True)
    new.write_parquet(tmp_path / "2024.03" / "new.parquet")
    new.write_csv(tmp_path / "march.2024.csv")
    new.write_csv(tmp_path / "march.2024.csv.gz", compression="gzip")
    summary = score_file(f"{tmp_path}/{source}", model="challenger")
    assert (tmp_path / scored).samefile(summary.outputs["scored"])


def test_a_folder_may_be_the_one_we_are_in(in_trained, tmp_path, monkeypatch):
    trained = params_files.load().model_copy(update={"workspace": str(in_trained / "data")})
    (tmp_path / "in").mkdir()
    pl.read_parquet(RAW).tail(20).write_parquet(tmp_path / "in" / "new.parquet")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{in_trained}/mlflow.db")
    monkeypatch.chdir(tmp_path / "in")
    score_file(".", trained, model="challenger")
    assert (tmp_path / "in.scored.parquet").exists()


def test_what_training_found_of_card_numbers_holds_for_few_rows(in_trained, tmp_path, monkeypatch):
    monkeypatch.delenv("FRAUD3000_PAN_KEY", raising=False)
    detecting = params_files.parse({"prepare": {"mapping": {"card_numbers": "detect"}}})
    # It passes the check digit, but no issuer's numbers begin so. Without training's finding, it would need a key.
    pl.read_parquet(RAW).tail(1).with_columns(card_id=pl.lit("2900000000000007")).write_parquet(
        tmp_path / "new.parquet"
    )
    assert run(tmp_path / "new.parquet", tmp_path, params=detecting).height == 1
    pl.read_parquet(RAW).tail(2).with_columns(card_id=pl.Series(["4111111111111111", "596"])).write_parquet(
        tmp_path / "new.parquet"
    )
    assert run(tmp_path / "new.parquet", tmp_path, params=detecting).height == 1, "a card number is refused as an id"


def test_a_place_of_arrival_in_history_and_input_is_refused(in_trained, tmp_path):
    numbered = params_files.parse({"prepare": {"mapping": {"columns": {"seq": "n"}}}})
    raw = pl.read_parquet(RAW).with_row_index("n")
    raw.head(18_000).write_parquet(tmp_path / "before.parquet")
    raw.tail(2_000).with_columns(n=pl.int_range(pl.len())).write_parquet(tmp_path / "new.parquet")
    with pytest.raises(DataError, match="seq: 2,000 rows of the history have the same number as rows of the input"):
        run(tmp_path / "new.parquet", tmp_path, params=numbered, history=str(tmp_path / "before.parquet"))


def test_rows_without_ids_that_may_be_in_the_history_are_told(in_trained, tmp_path):
    nameless = params_files.parse({"prepare": {"mapping": {"columns": {"transaction_id": None}}}})
    pl.read_parquet(RAW).tail(100).write_parquet(tmp_path / "new.parquet")
    how = {"out": tmp_path / "scored.parquet", "model": "challenger"}
    (warning,) = score_file(str(tmp_path / "new.parquet"), nameless, **how).warnings
    assert "100 rows of the history are in their time span" in warning
    pl.read_parquet(RAW).head(19_900).write_parquet(tmp_path / "before.parquet")
    history = str(tmp_path / "before.parquet")
    assert not score_file(str(tmp_path / "new.parquet"), nameless, history=history, **how).warnings


def test_cards_hashed_with_another_key_than_the_history_are_told(in_trained, tmp_path):
    def hashed(name, rows):
        with_key = rows.with_columns(card_id=cards.hash_cards(rows["card_id"], cards.new_key()))
        with_key.write_parquet(tmp_path / name)
        return str(tmp_path / name)

    raw = pl.read_parquet(RAW)
    new, before = hashed("new.parquet", raw.tail(50)), hashed("before.parquet", raw.head(19_950))
    how = {"out": tmp_path / "scored.parquet", "model": "challenger"}
    (warning,) = score_file(new, history=before, **how).warnings
    assert "no card of the input has a history" in warning
    assert not score_file(new, history=new, cold_start=True, **how).warnings


def test_files_in_the_way_are_not_overwritten(in_trained, tmp_path):
    with pytest.raises(ParamsError, match="is also an input of this command"):
        score_file(RAW, out=in_trained / RAW, model="challenger", cold_start=True)
    pl.read_parquet(RAW).tail(20).write_parquet(tmp_path / "new.parquet")
    for history, out in ((str(in_trained / RAW), RAW), (None, "data/interim/transactions.parquet")):
        with pytest.raises(ParamsError, match="is also an input of this command"):
            score_file(str(tmp_path / "new.parquet"), history=history, out=Path(out), model="challenger")
    with pytest.raises(ParamsError, match=r"'\.xlsx' cannot be written"):
        score_file(RAW, out=tmp_path / "scores.xlsx", model="challenger", cold_start=True)


def test_the_inputs_own_faults_come_before_a_missing_model(in_trained, tmp_path):
    pl.read_parquet(RAW).drop("amount").write_parquet(tmp_path / "bad.parquet")
    with pytest.raises(DataError, match="column 'amount' is missing"):
        score_file(str(tmp_path / "bad.parquet"), model="champion")
    with pytest.raises(ScorerError, match="no champion"):
        score_file(RAW, model="champion", cold_start=True)


def test_a_row_unlabelled_in_the_history_stays_so_when_it_comes_again_without_a_label(tmp_path):
    before = pl.DataFrame({"transaction_id": ["a", "b"], "labelled": [False, True]}).lazy()
    again = pl.LazyFrame(
        {"transaction_id": ["c", "a", "b"], "row_index": [0, 1, 2], "is_fraud": [None, None, None]},
        schema_overrides={"is_fraud": pl.Int8},
    )
    silent = pl.concat(in_both(before, again, tmp_path / "one")).sort("row")
    assert silent.rows() == [(0, 1, True), (1, 2, False)]
    said = pl.concat(in_both(before, again.with_columns(is_fraud=pl.lit(0, pl.Int8)), tmp_path / "two"))
    assert not said["still_unlabelled"].any()


def test_columns_of_the_input_are_kept(in_trained, answers, tmp_path):
    clean = pl.read_parquet("data/interim/transactions.parquet")
    kept = run(RAW, tmp_path, cold_start=True, keep=["ts", "card_id", "amount"])
    assert kept.columns == [*SCORED, "ts", "card_id", "amount"]
    assert kept.select(*SCORED).equals(answers)
    expected = kept.select("transaction_id").join(clean, on="transaction_id", how="left", maintain_order="left")
    assert kept.select("ts", "card_id", "amount").equals(expected.select("ts", "card_id", "amount"))
    everything = run(RAW, tmp_path, cold_start=True, keep=["all"])
    assert set(everything.columns) == {*SCORED, *clean.columns}


def test_an_unknown_column_to_keep_is_refused_with_its_nearest(in_trained, tmp_path):
    with pytest.raises(ParamsError, match=r"--keep amont: no column 'amont'; nearest: 'amount'"):
        run(RAW, tmp_path, cold_start=True, keep=["amont"])


def test_the_highest_scores_are_written_in_order(in_trained, answers, tmp_path):
    best = run(RAW, tmp_path, cold_start=True, top=25)
    assert best["score"].to_list() == answers["score"].sort(descending=True).head(25).to_list()


def test_the_file_comes_first(in_trained):
    with pytest.raises(ParamsError, match=r"the first argument is a Params, not a file"):
        score_file(params_files.load(), RAW)
