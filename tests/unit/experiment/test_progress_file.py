"""`progress.csv` and TensorBoard tell one story, also after a resume."""

from __future__ import annotations

import csv
import tracemalloc

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from empo_rllib.errors import RunError
from empo_rllib.experiment.progress_file import PROGRESS_FILE, ProgressFile, read_progress


def row(iteration, **more):
    return {
        "training_iteration": iteration,
        "env_steps": 100 * iteration,
        "time_s": iteration / 7,
        **more,
    }


def write(folder, iterations, tensorboard=False, last_iteration=0):
    progress = ProgressFile(folder, last_iteration, tensorboard)
    for iteration in iterations:
        progress.append(row(iteration))
    progress.close()


def table(folder):
    with (folder / PROGRESS_FILE).open(newline="") as file:
        return list(csv.reader(file))


def steps(folder, tag="time_s"):
    accumulator = EventAccumulator(str(folder)).Reload()
    return [event.step for event in accumulator.Scalars(tag)]


def test_each_row_is_on_disk_as_soon_as_it_is_appended(tmp_path):
    progress = ProgressFile(tmp_path, 0, tensorboard=False)
    for iteration in (1, 2):
        progress.append(row(iteration))
        assert len(read_progress(tmp_path)) == iteration
        assert read_progress(tmp_path)[-1]["env_steps"] == 100 * iteration


def test_values_are_read_back_to_the_last_digit(tmp_path):
    write(tmp_path, [1, 2, 3])
    assert [one["time_s"] for one in read_progress(tmp_path)] == [1 / 7, 2 / 7, 3 / 7]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TensorBoard's protocol buffers
def test_tensorboard_is_told_the_hyperparameters(tmp_path):
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    values = {"algorithm.params.lr": 0.5, "env.id": "x:Y", "fcnet": [64, 64], "gamma": None}
    for session in (0, 2):  # a resumed trial writes its events anew
        progress = ProgressFile(tmp_path, session, True, {**values, "seed": 7, "flag": True})
        for iteration in (1, 2):
            progress.append(row(session + iteration, episode_return_mean=0.5))
        progress.close()
    accumulator = EventAccumulator(str(tmp_path)).Reload()
    content = accumulator.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    told = HParamsPluginData.FromString(content).session_start_info.hparams
    assert {key: value.number_value for key, value in told.items() if value.number_value} == {
        "algorithm.params.lr": 0.5,
        "seed": 7.0,
        "flag": 1.0,
    }
    assert told["env.id"].string_value == "x:Y"
    assert told["fcnet"].string_value == "[64, 64]"
    assert "gamma" not in told
    experiment = accumulator.summary_metadata["_hparams_/experiment"].plugin_data.content
    metrics = HParamsPluginData.FromString(experiment).experiment.metric_infos
    compared = {metric.name.tag for metric in metrics}
    assert compared == {"episode_return_mean", "success_rate", "env_steps"}
    assert compared & set(accumulator.Tags()["scalars"]) == {"episode_return_mean", "env_steps"}


def test_a_new_column_is_there_from_the_first_row_on(tmp_path):
    progress = ProgressFile(tmp_path, 0, tensorboard=False)
    progress.append(row(1))
    progress.append(row(2, success_rate=0.5))
    progress.append(row(3))
    header, *rows = table(tmp_path)
    assert header == ["timestamp", "training_iteration", "env_steps", "time_s", "success_rate"]
    assert [len(one) for one in rows] == [5, 5, 5]
    assert [one[4] for one in rows] == ["", "0.5", ""]
    assert [one[1] for one in rows] == ["1", "2", "3"]


def test_a_cell_that_was_not_measured_is_no_value(tmp_path):
    progress = ProgressFile(tmp_path, 0, tensorboard=False)
    progress.append(row(1, success_rate=0.5))
    progress.append(row(2))
    assert "success_rate" not in read_progress(tmp_path)[1]


def test_a_resume_drops_the_rows_after_its_checkpoint(tmp_path):
    write(tmp_path, [1, 2, 3, 4, 5])
    write(tmp_path, [4, 5, 6], last_iteration=3)
    rows = read_progress(tmp_path)
    assert [one["training_iteration"] for one in rows] == [1, 2, 3, 4, 5, 6]
    timestamps = [one["timestamp"] for one in rows]
    assert timestamps == sorted(timestamps)


def test_a_column_that_first_appears_after_a_resume_is_there_from_the_first_row_on(tmp_path):
    write(tmp_path, [1, 2], tensorboard=True)
    progress = ProgressFile(tmp_path, 2, tensorboard=True)
    progress.append(row(3, **{"custom/mine": 0.5}))
    progress.close()
    header, *rows = table(tmp_path)
    assert [line[header.index("custom/mine")] for line in rows] == ["", "", "0.5"]
    assert steps(tmp_path, "custom/mine") == [300]
    write(tmp_path, [4], tensorboard=True, last_iteration=3)
    assert [one.get("custom/mine") for one in read_progress(tmp_path)] == [None, None, 0.5, None]


def test_the_rows_that_a_resume_keeps_stay_as_they_were(tmp_path):
    write(tmp_path, [1, 2, 3])
    before = table(tmp_path)
    write(tmp_path, [], last_iteration=2)
    assert table(tmp_path) == before[:-1]


def test_the_last_row_is_known_after_a_resume(tmp_path):
    assert ProgressFile(tmp_path, 0, tensorboard=False).last_row == {}
    write(tmp_path, [1, 2, 3])
    resumed = ProgressFile(tmp_path, 2, tensorboard=False)
    assert resumed.last_row["training_iteration"] == 2
    assert resumed.last_row["env_steps"] == 200


def test_a_fresh_start_drops_the_rows_of_an_attempt_without_checkpoint(tmp_path):
    write(tmp_path, [1, 2], tensorboard=True)
    write(tmp_path, [1], tensorboard=True, last_iteration=0)
    assert [one["training_iteration"] for one in read_progress(tmp_path)] == [1]
    assert steps(tmp_path) == [100]


@pytest.mark.parametrize("cut", [1, 2, 4, 8, 20])
def test_a_last_line_cut_short_is_left_out(tmp_path, cut):
    write(tmp_path, [1, 2, 3])
    path = tmp_path / PROGRESS_FILE
    path.write_bytes(path.read_bytes()[:-cut])
    assert [one["training_iteration"] for one in read_progress(tmp_path)][:2] == [1, 2]
    assert all(one["time_s"] == one["training_iteration"] / 7 for one in read_progress(tmp_path))
    write(tmp_path, [3, 4], last_iteration=2)
    assert [one["training_iteration"] for one in read_progress(tmp_path)] == [1, 2, 3, 4]


def test_a_row_with_more_cells_than_columns_is_left_out(tmp_path):
    write(tmp_path, [1, 2])
    with (tmp_path / PROGRESS_FILE).open("a") as file:
        file.write("1,2,3,4,5,6,7\n")
    assert [one["training_iteration"] for one in read_progress(tmp_path)] == [1, 2]


def test_a_folder_without_progress_has_no_rows(tmp_path):
    assert read_progress(tmp_path) == []
    (tmp_path / PROGRESS_FILE).write_text("")
    assert read_progress(tmp_path) == []


def test_tensorboard_has_every_number_at_its_env_steps(tmp_path):
    write(tmp_path, [1, 2], tensorboard=True)
    accumulator = EventAccumulator(str(tmp_path)).Reload()
    assert set(accumulator.Tags()["scalars"]) == {"env_steps", "time_s"}
    events = accumulator.Scalars("time_s")
    assert [event.step for event in events] == [100, 200]
    assert [event.value for event in events] == pytest.approx([1 / 7, 2 / 7])
    stamps = [one["timestamp"] for one in read_progress(tmp_path)]
    assert [event.wall_time for event in events] == pytest.approx(stamps)


def test_after_resumes_no_step_of_tensorboard_is_there_twice_or_goes_back(tmp_path):
    write(tmp_path, [1, 2, 3, 4], tensorboard=True)
    write(tmp_path, [3, 4, 5], tensorboard=True, last_iteration=2)
    write(tmp_path, [5, 6], tensorboard=True, last_iteration=4)
    assert steps(tmp_path) == [100, 200, 300, 400, 500, 600]


def test_without_tensorboard_no_events_are_written(tmp_path):
    write(tmp_path, [1])
    assert [path.name for path in tmp_path.iterdir()] == [PROGRESS_FILE]


# Damage


DAMAGES = {
    "emptied": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "not UTF-8": lambda content: content[:-10] + b"\xff" + content[-9:],
    "NUL": lambda content: content.replace(b",300,", b",3\0" + b"0,"),
    "zeros": lambda content: bytes(len(content)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_rows_are_recovered_from_tensorboard(tmp_path, caplog, damage):
    write(tmp_path, range(1, 7), tensorboard=True)
    before = read_progress(tmp_path)
    path = tmp_path / PROGRESS_FILE
    damaged = DAMAGES[damage](path.read_bytes())
    path.write_bytes(damaged)
    write(tmp_path, [], tensorboard=True, last_iteration=5)
    rows = read_progress(tmp_path)
    assert [one["training_iteration"] for one in rows] == [1, 2, 3, 4, 5]
    assert [one["env_steps"] for one in rows] == [one["env_steps"] for one in before[:5]]
    for key in ("time_s", "timestamp"):
        assert [one[key] for one in rows] == pytest.approx([one[key] for one in before[:5]])
    assert steps(tmp_path) == [100, 200, 300, 400, 500]
    assert (tmp_path / "damaged_progress.csv").read_bytes() == damaged
    (warning,) = caplog.messages
    assert str(path) in warning
    assert "Recovered from TensorBoard's events" in warning


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_loss_without_a_copy_is_reported_and_the_damaged_file_kept(tmp_path, caplog, damage):
    write(tmp_path, range(1, 7))
    path = tmp_path / PROGRESS_FILE
    damaged = DAMAGES[damage](path.read_bytes())
    path.write_bytes(damaged)
    write(tmp_path, [7], last_iteration=6)
    assert read_progress(tmp_path)[-1]["training_iteration"] == 7
    assert (tmp_path / "damaged_progress.csv").read_bytes() == damaged
    (warning,) = caplog.messages
    assert "These rows are lost" in warning


def test_an_intact_file_is_neither_reported_nor_set_aside(tmp_path, caplog):
    write(tmp_path, [1, 2, 3], tensorboard=True)
    write(tmp_path, [3], tensorboard=True, last_iteration=2)
    assert not caplog.messages
    assert not (tmp_path / "damaged_progress.csv").exists()


def test_what_is_no_text_is_an_error_that_names_the_file(tmp_path):
    write(tmp_path, [1, 2])
    path = tmp_path / PROGRESS_FILE
    path.write_bytes(DAMAGES["not UTF-8"](path.read_bytes()))
    with pytest.raises(RunError, match=r"progress\.csv: damaged: "):
        read_progress(tmp_path)


def test_a_long_run_needs_no_more_memory_than_a_short_one(tmp_path):
    file = ProgressFile(tmp_path, 0, tensorboard=False)
    row = {f"learner/agent_{number}/entropy": float(number) for number in range(40)}

    def append(iterations):
        for iteration in iterations:
            file.append({"training_iteration": iteration, "env_steps": 10 * iteration, **row})

    append(range(1, 50))
    tracemalloc.start()
    try:
        append(range(50, 250))
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < 20_000  # bytes; 200 rows take more than 300,000
    assert len(read_progress(tmp_path)) == 249
