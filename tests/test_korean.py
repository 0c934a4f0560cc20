"""The Korean that is shipped: one word for one thing, and particles that fit the word before."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY

FILES = [
    REPOSITORY / "README.ko.md",
    *sorted((REPOSITORY / "docs" / "ko").glob("*.md")),
    REPOSITORY / "edgeai" / "node" / "page" / "texts-ko.js",
    REPOSITORY / "deploy" / "grafana" / "source" / "texts.yaml",
    REPOSITORY / "deploy" / "prometheus" / "rules" / "alerts.yaml",
]
NOUNS = (
    "값", "경보", "구간", "노드", "데이터", "로그", "메시지", "모델", "브로커", "사이클", "샘플",
    "설비", "설정", "세션", "시각", "시계", "신호", "알림", "연결", "예측", "워커", "윈도우",
    "인증서", "임계값", "점수", "토큰", "토픽", "파이프라인", "품질", "화면",
)  # fmt: skip
PAIRS = (("은", "는"), ("이", "가"), ("을", "를"), ("과", "와"), ("으로", "로"))
"""After a final consonant, and after none."""
WORD = re.compile(
    rf"({'|'.join(sorted(NOUNS, key=len, reverse=True))})"
    rf"({'|'.join(one for pair in PAIRS for one in pair)})(?![가-힣])"
)
NO_FINAL, FINAL_L = 0, 8


def wrong_particles(text: str) -> list[str]:
    """Return the nouns whose particle is that of another word."""
    found = []
    for noun, particle in WORD.findall(text):
        final = (ord(noun[-1]) - ord("가")) % 28
        pair = next(one for one in PAIRS if particle in one)
        is_open = final == NO_FINAL or (particle in PAIRS[-1] and final == FINAL_L)
        if particle != pair[1 if is_open else 0]:
            found.append(noun + particle)
    return found


def test_a_wrong_particle_is_found() -> None:
    assert wrong_particles("경보이 있었던 설비, 알림와 시작 시각, 경보으로") == [
        "경보이", "알림와", "경보으로",
    ]  # fmt: skip
    assert wrong_particles("경보가, 알림과, 모델로, 토픽으로, 경보이며, 신호는") == []


@pytest.mark.parametrize("file", FILES, ids=lambda one: one.name)
def test_particles_fit_and_an_alarm_has_one_word(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert len(re.findall("[가-힣]", text)) > 100
    assert wrong_particles(text) == []
    assert "알람" not in text, "an alarm is 경보, an alert of Prometheus is 알림"
