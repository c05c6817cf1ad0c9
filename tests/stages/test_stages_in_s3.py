"""The same files here and in S3 make the same outputs, here and in S3."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fraud3000.errors import DataError, ParamsError, UnavailableError
from fraud3000.params import Params, parse
from fraud3000.stages.prepare import prepare
from fraud3000.stages.score_file import score_file
from fraud3000.stages.simulate import simulate
from tests.between import Between

RAW = "id,time,amount,label\na,2024-01-01,5,0\nb,2024-01-02,x,0\nc,2024-01-03,7,0\nd,2024-01-04,7,1\n"
COLUMNS = {"transaction_id": "id", "ts": "time", "amount": "amount", "is_fraud": "label"}
INTERIM = ("labels.parquet", "quarantine.parquet", "transactions.parquet")


def params(workspace: Path, **section: Any) -> Params:
    settings = {"source": "custom", "mapping": {"columns": COLUMNS}} | section
    return Params.model_validate({"workspace": str(workspace), "prepare": settings})


def keys(store: Any) -> list[str]:
    return [entry["Key"] for entry in store.list_objects_v2(Bucket="bank").get("Contents", ())]


def body(store: Any, key: str) -> bytes:
    content: bytes = store.get_object(Bucket="bank", Key=key)["Body"].read()
    return content


@pytest.fixture
def raw(s3: Any, tmp_path: Path) -> Path:
    (tmp_path / "a.csv").write_text(RAW)
    (tmp_path / "said.csv").write_text("transaction_id,is_fraud\nc,1\nz,1\n")
    s3.upload_file(str(tmp_path / "a.csv"), "bank", "raw/a.csv")
    s3.upload_file(str(tmp_path / "said.csv"), "bank", "said.csv")
    return tmp_path


class TestPrepare:
    def test_from_s3_as_from_here_and_published_byte_for_byte(self, s3: Any, raw: Path) -> None:
        here, there = raw / "here", raw / "there"
        prepare(params(here, input=str(raw / "a.csv"), labels={"input": str(raw / "said.csv")}))
        labels = {"input": "s3://bank/said.csv"}
        summary = prepare(params(there, input="s3://bank/raw/", labels=labels, publish="s3://bank/clean"))
        for name in INTERIM:
            assert body(s3, f"clean/{name}") == (there / "interim" / name).read_bytes()
            assert summary.outputs[f"published {Path(name).stem}"] == f"s3://bank/clean/{name}"
        for name in ("transactions.parquet", "labels.parquet"):
            assert (there / "interim" / name).read_bytes() == (here / "interim" / name).read_bytes()
        quarantine = pl.read_parquet(there / "interim" / "quarantine.parquet")
        assert quarantine["source_file"].to_list() == ["s3://bank/raw/a.csv", "s3://bank/said.csv"]
        own = pl.read_parquet(here / "interim" / "quarantine.parquet")
        assert quarantine.drop("source_file").equals(own.drop("source_file"))

    def test_what_was_prepared_is_not_written_over_while_it_is_read(self, raw: Path) -> None:
        prepare(params(raw, input="s3://bank/raw/a.csv", publish="s3://bank/clean/"))
        with pytest.raises(
            ParamsError, match=r"^s3://bank/clean/transactions\.parquet: is also an input of this command"
        ):
            prepare(params(raw, input="s3://bank/clean/trans*", publish="s3://bank/clean/"))
        labels = {"input": "s3://bank/clean/labels.parquet"}
        with pytest.raises(ParamsError, match=r"^s3://bank/clean/labels\.parquet: is also an input of this command"):
            prepare(params(raw, input="s3://bank/raw/", labels=labels, publish="s3://bank/clean/"))

    def test_a_bucket_that_cannot_be_written_is_told_before_the_input_is_read(self, raw: Path) -> None:
        with pytest.raises(UnavailableError, match="there is no bucket 'elsewhere'"):
            prepare(params(raw, input="nowhere.csv", publish="s3://elsewhere/"))
        with pytest.raises(DataError, match=r"nowhere\.csv"):
            prepare(params(raw, input="nowhere.csv", publish="s3://bank/"))

    def test_if_publishing_fails_nothing_has_changed_here(
        self, s3: Any, between: Between, raw: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rows = "".join(f"x{random.random()},2024-01-01,{place},0\n" for place in range(20_000))
        (raw / "a.csv").write_text(f"id,time,amount,label\n{rows}")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        settings = params(raw, input=str(raw / "a.csv"), publish="s3://bank/clean/")
        prepare(params(raw, input="s3://bank/raw/a.csv"))
        before = {path: path.read_bytes() for path in (raw / "interim").iterdir()}
        between.limit = 100_000
        with pytest.raises(UnavailableError, match=r"^s3://bank/clean/.*\.parquet: the endpoint does not answer"):
            prepare(settings)
        assert {path: path.read_bytes() for path in (raw / "interim").iterdir()} == before
        assert keys(s3) == ["raw/a.csv", "said.csv"]
        between.limit = None
        prepare(settings)
        assert keys(s3) == [*(f"clean/{name}" for name in INTERIM), "raw/a.csv", "said.csv"]


class TestScoreFile:
    FILE = "data/raw/transactions.parquet"

    @pytest.fixture
    def new(self, s3: Any, in_trained: Path, tmp_path: Path) -> Path:
        rows = pl.read_parquet(self.FILE)
        rows.tail(100).write_parquet(tmp_path / "new.parquet")
        rows.head(19_900).write_parquet(tmp_path / "before.parquet")
        for name in ("new", "before"):
            s3.upload_file(str(tmp_path / f"{name}.parquet"), "bank", f"in/{name}.parquet")
        return tmp_path

    def test_from_s3_to_s3_as_from_here_to_here(self, s3: Any, new: Path) -> None:
        here = score_file(str(new / "new.parquet"), history=str(new / "before.parquet"), model="challenger")
        there = score_file("s3://bank/in/new.parquet", history="s3://bank/in/before.parquet", model="challenger")
        assert there.outputs == {
            "scored": "s3://bank/in/new.scored.parquet",
            "rejected": "s3://bank/in/new.scored.rejected.parquet",
        }
        assert there.facts["history"] == "s3://bank/in/before.parquet, 19,900 rows"
        for name in ("new.scored.parquet", "new.scored.rejected.parquet"):
            assert body(s3, f"in/{name}") == (new / name).read_bytes()
        assert here.facts["alerts"] == there.facts["alerts"]

    def test_an_out_that_is_named(self, s3: Any, new: Path) -> None:
        how = {"model": "challenger", "cold_start": True}
        score_file(str(new / "new.parquet"), out="s3://bank/out/scores.csv", **how)
        score_file("s3://bank/in/new.parquet", out=new / "scores.csv", **how)
        assert body(s3, "out/scores.csv") == (new / "scores.csv").read_bytes()
        assert [key for key in keys(s3) if key.startswith("out")] == ["out/scores.csv", "out/scores.rejected.parquet"]

    @pytest.mark.parametrize(
        ("source", "scored"),
        [("s3://bank/in", "s3://bank/in.scored.parquet"), ("s3://bank/in/", "s3://bank/in.scored.parquet")],
    )
    def test_scores_of_a_prefix_go_beside_it(self, new: Path, source: str, scored: str) -> None:
        assert score_file(source, model="challenger", cold_start=True).outputs["scored"] == scored

    @pytest.mark.parametrize("source", ["s3://bank/", "s3://bank/in/n*.parquet"])
    def test_a_bucket_and_a_glob_need_an_out(self, new: Path, source: str) -> None:
        with pytest.raises(ParamsError, match="no default output path"):
            score_file(source, model="challenger", cold_start=True)

    def test_inputs_are_not_written_over(self, new: Path) -> None:
        for name, source in (("new", "in/n*"), ("before", "in/new.parquet")):
            out = f"s3://bank/in/{name}.parquet"
            with pytest.raises(ParamsError, match=rf"^{out}: is also an input of this command"):
                score_file(f"s3://bank/{source}", history="s3://bank/in/before.parquet", out=out)

    def test_a_bucket_that_is_not_there_is_told_before_a_missing_model(self, new: Path) -> None:
        with pytest.raises(UnavailableError, match="there is no bucket 'elsewhere'"):
            score_file(str(new / "new.parquet"), out="s3://elsewhere/a.csv", model="champion")


def test_simulate_writes_to_s3_what_it_writes_here(s3: Any, tmp_path: Path) -> None:
    small = Params.model_validate({"simulate": {"rows": 500, "days": 30, "cards": 20, "terminals": 9}})
    simulate(small, tmp_path / "a.csv")
    assert simulate(small, "s3://bank/a.csv").outputs == {"transactions": "s3://bank/a.csv"}
    assert body(s3, "a.csv") == (tmp_path / "a.csv").read_bytes()


def test_no_folder_is_named_after_s3(s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for wrong in ({"workspace": "s3://bank/data"}, {"prepare": {"publish": "data/published"}}):
        with pytest.raises(ParamsError, match=r"machine|in S3"):
            parse(wrong)
    assert list(tmp_path.iterdir()) == []
