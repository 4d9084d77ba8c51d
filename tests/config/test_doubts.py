"""mirage.yml that is well formed, and most likely not what was meant."""

from __future__ import annotations

import pytest

from mirage_hooks.config import doubts, reading

OTHER = ', ipv4: 192.0.2.1/24'


def doubted(*each: str) -> list[str]:
    """What is doubtful in a file of unikernels a, b, … that say this."""
    found = '\n'.join(f' {"abc"[at]}: {{image: i, {said}}}' for at, said in enumerate(each))
    return list(doubts.doubts(reading.parse(f'unikernels:\n{found}\n'.encode(), 'f')))


@pytest.mark.parametrize('question', [
    '{http: "http://127.0.0.1:80/"}', '{http: "http://localhost/"}', '{tcp: "[::1]:80"}',
    '[{alive: 1s}, {tcp: "127.0.0.1:80"}]',
])
def test_a_question_at_a_port_that_it_was_not_given(question: str) -> None:
    assert doubted(f'network: {{mode: socket, port: 8080}}, health: {question}') == [
        'a: health: asks port 80, but network: has port 8080'
    ]


@pytest.mark.parametrize('rest', [
    '{http: "http://127.0.0.1:8080/"}', '{tcp: "127.0.0.1:8080"}', '{alive: 1s}',
    '{http: "https://www.example.org/"}',  # a proxy's
    '{http: "https://localhost:4433/"}, arguments: [--https=4433]',
])
def test_a_question_that_may_well_be_meant(rest: str) -> None:
    assert doubted(f'network: {{mode: socket, port: 8080}}, health: {rest}') == []


def test_two_on_one_port() -> None:
    assert doubted(*(f'network: {{mode: socket, port: 80{more}}}' for more in ('', OTHER, ''))) == [
        'c: port 80 is also that of a: only one of them can run'
    ]
