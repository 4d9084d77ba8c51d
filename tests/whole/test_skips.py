"""Nothing is skipped without a word of what goes untried."""

from __future__ import annotations

import pytest

from tests import skips
from tests.deployment import ROOT

pytest_plugins = ['pytester']


def test_the_documented_table_is_the_one_that_a_run_tells() -> None:
    text = (ROOT / 'docs' / 'testing.md').read_text()
    assert text.endswith(f'\n\n{skips.markdown()}')


@pytest.mark.parametrize(('reason', 'lacks'), [
    ('missing: SOLO5_TESTS, solo5-spt, root', "Solo5's tenders and built tests"),
    ('the Xen rig is not built, and building it needs root', 'root'),
    ('the Xen rig needs mmdebstrap', 'a program that the reason names'),
    ('sudo is missing', 'a program that the reason names'),
    ('needs gcc and root', 'root'),
])
def test_a_reason_is_found_in_the_table(reason: str, lacks: str) -> None:
    found = skips.row(reason)
    assert found is not None and found.lacks == lacks


@pytest.fixture
def project(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> pytest.Pytester:
    """A test suite with our plugins, of one quick test, one long and one that is skipped."""
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    pytester.makeconftest("""
        from tests import selection, skips
        def pytest_addoption(parser):
            parser.addoption('--all', action='store_true')
        def pytest_configure(config):
            config.addinivalue_line('markers', 'long: takes long')
            config.pluginmanager.register(selection.Selection(config))
            config.pluginmanager.register(skips.Skips())
    """)
    pytester.makepyfile(test_one="""
        import pytest
        def test_quick(): pass
        @pytest.mark.long
        def test_long(): pass
        @pytest.mark.skip(reason='sudo is missing')
        def test_skipped(): pass
    """)
    return pytester


@pytest.mark.parametrize('workers', [(), ('-n', '2')], ids=['one process', 'workers'])
def test_long_tests_are_left_out_and_a_skip_is_explained(
    project: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    done = project.runpytest_subprocess(*workers)
    done.assert_outcomes(passed=1, skipped=1, deselected=0 if workers else 1)
    done.stdout.fnmatch_lines(['1 long tests are left out (*; all: tests/run --all'])
    done.stdout.fnmatch_lines(['1 skipped for want of a program that the reason names. *'])
    assert done.ret == 0


@pytest.mark.parametrize('arguments', [('--all',), ('test_one.py::test_long',)])
def test_a_long_test_runs_when_all_do_or_when_it_is_named(
    project: pytest.Pytester, arguments: tuple[str, ...]
) -> None:
    done = project.runpytest_subprocess(*arguments, '-rA')
    done.stdout.fnmatch_lines(['PASSED test_one.py::test_long'])
    assert 'left out' not in done.stdout.str()


@pytest.mark.parametrize('workers', [(), ('-n', '2')], ids=['one process', 'workers'])
def test_a_skip_for_a_reason_that_nobody_explained_fails_the_run(
    project: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    project.makepyfile(test_two="""
        import pytest
        def test_moody(): pytest.skip('not today')
    """)
    done = project.runpytest_subprocess(*workers)
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    done.stdout.fnmatch_lines(['FAILED: a skip that tests/skips.py does not know: not today'])


