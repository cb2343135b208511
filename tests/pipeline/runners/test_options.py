from __future__ import annotations

import copy
import logging
import pickle

import pytest
from apache_beam.options.pipeline_options import DirectOptions, SetupOptions

from pipeline.runners.options import pipeline_options, processes_here
from pipeline.runners.requirements import runner_name
from transforms.errors import ConfigurationError


def test_only_processes_of_one_machine_share_its_cores() -> None:
    two = ["--direct_num_workers=2"]
    assert processes_here(pipeline_options({}, two)) == 1
    assert processes_here(pipeline_options({"direct_running_mode": "multi_threading"}, two)) == 1
    assert processes_here(pipeline_options({"direct_running_mode": "multi_processing"}, two)) == 2
    portable = {"direct_running_mode": "multi_processing", "runner": "PortableRunner"}
    assert processes_here(pipeline_options(portable, two)) == 1


def test_the_default_names_its_runner() -> None:
    options = pipeline_options({}, [])
    assert runner_name(options) == "FnApiRunner"
    assert options.view_as(SetupOptions).save_main_session is False


def test_the_command_line_overrides_the_configuration() -> None:
    settings = {"direct_num_workers": 3, "direct_running_mode": "multi_threading"}
    direct = pipeline_options(settings, ["--direct_num_workers=2"]).view_as(DirectOptions)
    assert direct.direct_num_workers == 2
    assert direct.direct_running_mode == "multi_threading"


def test_booleans_and_lists_become_flags() -> None:
    options = pipeline_options({"experiments": ["one", "two"], "streaming": False}, [])
    assert options.get_all_options()["experiments"] == ["one", "two"]


@pytest.mark.parametrize("flags", [[], ["--impersonate_service_account=a@b"]])
def test_views_share_the_values_of_their_options_and_no_others(flags: list[str]) -> None:
    options = pipeline_options({}, ["--direct_num_workers=2", *flags])
    assert options.view_as(DirectOptions) is options.view_as(DirectOptions)
    again = pickle.loads(pickle.dumps(options))  # noqa: S301 - ours
    for copied in (copy.deepcopy(options), again):
        copied.view_as(DirectOptions).direct_num_workers = 3
        assert copied.get_all_options()["direct_num_workers"] == 3
        assert copied.view_as(SetupOptions).view_as(DirectOptions).direct_num_workers == 3
    assert options.view_as(DirectOptions).direct_num_workers == 2


def test_direct_runner_is_replaced_aloud(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        options = pipeline_options({"runner": "DirectRunner"}, [])
    assert runner_name(options) == "FnApiRunner"
    assert "DirectRunner does not say which runner it will use" in caplog.text


def test_an_unknown_option_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        ConfigurationError,
        match="unknown Beam option --direct_num_wokers: did you mean --direct_num_workers",
    ):
        pipeline_options({}, ["--direct_num_wokers=2"])


def test_a_wrong_value_is_refused() -> None:
    with pytest.raises(
        ConfigurationError, match="argument --direct_num_workers: invalid int value: 'many'"
    ):
        pipeline_options({}, ["--direct_num_workers=many"])
