"""How each part of a ranking changes what is found, on labelled questions, against the ranking before it.

    python -m tests.perf.ranking_trials MEMORIES.jsonl QUERIES.jsonl [--models minilm,minilm-static] [--join N]
        [--nothing QUERIES.jsonl] [--cache FOLDER]

Everything is scored exactly, within the question's user, in memory. A step is added to those above it. Prints nDCG@10
and recall@10, and by how much nDCG@10 differs from the first step's, with its paired 95 % interval. `--join` makes one
memory of N turns of a run, to see long texts. `--nothing` takes questions that the memories don't answer, and prints
what a floor of the shown score takes from either kind.
"""

import argparse
import calendar
import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from agentmem_cli import Memory
from agentmem_cli.embedding import catalog
from agentmem_cli.embedding.base import Embedder, Vectors, embed_checked, embed_queries_checked
from agentmem_cli.embedding.choice import ModelChoice
from agentmem_cli.embedding.languages import UNREAD_WARNING_RATIO, ModelAdvice, better_model, letters_by_script
from agentmem_cli.records.jsonl import parse_memory
from agentmem_cli.search.evaluation import ndcg_at, recall_at
from agentmem_cli.search.query import LabelledQuery
from agentmem_cli.search.query_file import read_queries
from agentmem_cli.store.word_scores import asked_for
from agentmem_cli.store.words import Tokenizer, is_beginning, spaced
from agentmem_cli.support.statistics import bootstrap_interval

Scores: TypeAlias = NDArray[np.float64]
Places: TypeAlias = NDArray[np.int64]
Mask: TypeAlias = NDArray[np.bool_]

K = 10
SAMPLE = 256  # vectors that a mean and a spread are estimated from
UNREAD_MUTE = 0.5  # a model that knows less than half of a query has no say; at UNREAD_WARNING_RATIO it has all of it
SHORT_TOKENS, LONG_TOKENS, K1, B = 30, 130, 1.2, 0.75
DEPTH = 200
FLOORS = (0.2, 0.25, 0.3, 0.33, 0.36)
TOP = 3  # of the best hits, whose evidence is looked at
EVIDENCE_POWER = 0.25
# Half of the pairs of a run of Han letters straddle words: no text can be expected to have them.
UNSPACED_EVIDENCE = 2.0


@dataclass(frozen=True)
class Step:
    """A ranking. `words` is how much all of a query's words count, in spreads of the cosine; 0 is today's fusion."""

    name: str
    words: float = 0.0
    power: float = 1.0
    mutes: bool = False
    characters: bool = False
    long_texts: bool = False
    shares: tuple[float, ...] = (0.2,)
    speaker: float = 1.0
    time: float = 1.0
    alone: str = ""


def steps() -> Iterator[Step]:
    """The rankings, each with one part more than the one before, and what its two halves find alone."""
    yield Step("today")
    step = Step("+ standardised cosine + 10 share", words=10.0)
    yield step
    step = replace(step, name="+ a model that can't read is mute", mutes=True)
    yield step
    step = replace(step, name="+ characters of unspaced scripts", characters=True)
    yield step
    step = replace(step, name="+ 13 share ** 1.25 in place of 10", words=13.0, power=1.25)
    yield step
    step = replace(step, name="+ usual BM25 in long texts", long_texts=True)
    yield step
    step = replace(step, name="+ neighbours two apart, at half", shares=(0.2, 0.1))
    yield step
    step = replace(step, name="+ speaker x1.4", speaker=1.4)
    yield step
    step = replace(step, name="+ time x1.5", time=1.5)
    yield step
    yield replace(step, name="words alone", alone="words")
    yield replace(step, name="meaning alone", alone="meaning")


@dataclass(frozen=True)
class Word:
    """A word of a query: its weight, which of the query's memories have it, and how often."""

    weight: float
    places: Places
    times: Scores
    of_run: bool  # of a script without spaces


class Trial:
    """Memories, what their words, runs, speakers and times say, and questions."""

    def __init__(self, memories: Sequence[Memory], queries: Sequence[LabelledQuery]) -> None:
        self.memories, self.queries = memories, queries
        self._tokenizer = Tokenizer()
        self._held: dict[str, dict[int, int]] = {}
        self._beginning: dict[str, dict[int, int]] = {}
        self.lengths = np.zeros(len(memories))
        first: dict[str, int] = {}
        self._same = np.array([first.setdefault(memory.text, i) for i, memory in enumerate(memories)])
        for number, memory in enumerate(memories):
            stems = [stem for _, stem in self._tokenizer.words(spaced(memory.text))]
            self.lengths[number] = len(stems)
            for stem, times in Counter(stems).items():
                self._held.setdefault(stem, {})[number] = times
            for character, times in Counter(stem[0] for stem in stems if is_beginning(stem[0])).items():
                self._beginning.setdefault(character, {})[number] = times
        self.before, self.after = _neighbours(memories)
        self.speakers = _speakers(memories)
        users = [memory.scope.user_id for memory in memories]
        everybody = np.arange(len(memories))
        of_user = {user: np.array([i for i, u in enumerate(users) if u == user]) for user in set(users)}
        asked = [query.query.filter.scope.user_id for query in queries]
        self.among = [everybody if user is None else of_user[user] for user in asked]
        self._words: dict[tuple[str, int, bool], list[Word]] = {}

    def words(self, query: str, among: Places, *, characters: bool) -> list[Word]:
        """The words of a query, by the weights that the store gives them among these memories."""
        key = (query, int(among[0]), characters)
        if key not in self._words:
            self._words[key] = list(self._found(query, among, characters=characters))
        return self._words[key]

    def _found(self, query: str, among: Places, *, characters: bool) -> Iterator[Word]:
        place = np.full(len(self.memories), -1)
        place[among] = np.arange(len(among))
        texts = len(set(self._same[among].tolist()))
        for word, _, share in asked_for(query, self._tokenizer):
            if share < 1 and not characters:
                continue
            if is_beginning(word):
                times = self._beginning.get(word, {})
            else:
                times = self._held.get(self._tokenizer.words(word)[0][1], {})
            held = [i for i in times if place[i] >= 0]
            having = len({int(self._same[i]) for i in held})
            weight = share * math.log(1 + (texts - having + 0.5) / (having + 0.5))
            counts = np.array([times[i] for i in held], dtype=np.float64)
            yield Word(weight, place[np.array(held, dtype=np.int64)], counts, is_beginning(word[0]))

    def shares(self, words: Sequence[Word], among: Places, *, long_texts: bool) -> Scores:
        """How much of the query's words each memory has: by presence, and where texts are long by usual BM25."""
        lengths = self.lengths[among]
        k1 = K1 * min(max((lengths.mean() - SHORT_TOKENS) / (LONG_TOKENS - SHORT_TOKENS), 0.0), 1.0)
        norm = k1 * (1 - B + B * lengths / lengths.mean())
        scores, whole = np.zeros(len(among)), 0.0
        for word in words:
            counted = word.times * (k1 + 1) / (word.times + norm[word.places]) if long_texts else 1.0
            scores[word.places] += word.weight * counted
            whole += word.weight
        found: Scores = scores / whole if whole else scores
        return found

    def lent(self, scores: Scores, among: Places, shares: Sequence[float]) -> Scores:
        """The scores, with shares of those of the memories one, two, ... before and after in the run."""
        whole = np.zeros(len(self.memories) + 1)  # the last stands for no neighbour
        whole[among] = scores
        lent: Scores = scores.copy()
        for side in (self.before, self.after):
            at = among
            for share in shares:
                at = side[at]
                lent = lent + share * whole[at]
        return lent

    def names_speaker(self, query: str, among: Places) -> Mask | None:
        """Which memories the one speaker said that a query names; None where it names none, or several."""
        words = {word for word, _ in self._tokenizer.words(query)}
        found = [self.speakers[i] for i in among]
        named = {name for name, count in Counter(found).items() if name and count > 1 and _first_word(name) in words}
        return np.array([name in named for name in found]) if len(named) == 1 else None

    def names_time(self, query: str, among: Places) -> Mask | None:
        """Which memories are of a time that a query names; None where it names none."""
        times = list(named_times(query))
        if not times:
            return None
        return np.array([any(_is_of(self.memories[i].created_at, *time) for time in times) for i in among])


class Asked:
    """A trial's questions as a model reads them."""

    def __init__(
        self, trial: Trial, queries: Sequence[str], vectors: Vectors, own: Vectors, unread: Sequence[float]
    ) -> None:
        self._trial, self._queries = trial, queries
        self._cosines = np.clip(own.astype(np.float64) @ vectors.T.astype(np.float64), -1, 1)
        self._unread = unread

    def scores(self, step: Step, number: int, among: Places) -> tuple[Scores, float]:
        """How well these memories answer a question, and how sure it is that the best do."""
        trial, query = self._trial, self._queries[number]
        words = trial.words(query, among, characters=step.characters)
        shares = trial.shares(words, among, long_texts=step.long_texts)
        cosines = self._cosines[number, among]
        if step.alone:
            return (cosines if step.alone == "meaning" else shares), 0.0
        say = min(max((UNREAD_MUTE - self._unread[number]) / (UNREAD_MUTE - UNREAD_WARNING_RATIO), 0.0), 1.0)
        if not step.words:
            scores = (np.maximum(cosines, 0) + shares) / 2
        else:
            say = say if step.mutes else 1.0
            scores = np.maximum(say * _standardised(cosines) + step.words * shares**step.power, 0)
        scores = trial.lent(scores, among, step.shares)
        for factor, mask in (
            (step.speaker, trial.names_speaker(query, among) if step.speaker != 1 else None),
            (step.time, trial.names_time(query, among) if step.time != 1 else None),
        ):
            if mask is not None:
                scores[mask] *= factor
        return scores, self._evidence(words, say, cosines, shares, scores)

    def _evidence(self, words: Sequence[Word], say: float, cosines: Scores, shares: Scores, scores: Scores) -> float:
        of_runs = sum(word.weight for word in words if word.of_run) / (sum(word.weight for word in words) or 1.0)
        fair = np.minimum(1, shares * (1 + (UNSPACED_EVIDENCE - 1) * of_runs))
        best = np.argsort(-scores, kind="stable")[:TOP]
        sure = np.sqrt((say * np.maximum(cosines, 0) ** 2 + fair**2) / (1 + say))
        return float(sure[best].max())


def main() -> None:
    """Embeds, scores and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("memories")
    parser.add_argument("queries")
    parser.add_argument("--models", default="minilm,minilm-static")
    parser.add_argument("--join", type=int, default=1)
    parser.add_argument("--nothing")
    parser.add_argument("--cache", default="")
    arguments = parser.parse_args()
    memories = [parse_memory(line) for line in Path(arguments.memories).read_bytes().splitlines()]
    queries = [query for query in read_queries(arguments.queries) if query.relevant]
    memories, queries = _joined(memories, queries, arguments.join)
    trial = Trial(memories, queries)
    nothing = [query.query.text for query in read_queries(arguments.nothing)] if arguments.nothing else []
    print(f"{len(memories)} memories of {trial.lengths.mean():.0f} words, {len(queries)} questions")
    for model in arguments.models.split(","):
        embedder = catalog.load(catalog.resolve(ModelChoice(model)))
        texts = [query.query.text for query in queries] + nothing
        vectors = _cached(embedder, [memory.text for memory in memories], arguments.cache)
        own = embed_queries_checked(embedder, texts)
        asked = Asked(trial, texts, vectors, own, [_unread(embedder, text) for text in texts])
        last = _show_steps(trial, asked, model)
        if nothing:
            _show_floors(trial, asked, last, nothing)


def _show_steps(trial: Trial, asked: Asked, model: str) -> Step:
    base: Scores | None = None
    last = Step("")
    for step in steps():
        ndcgs, recalls = [], []
        for number, query in enumerate(trial.queries):
            ranked = [hit[:2] for hit in _ranked(trial, asked, step, number)]
            ndcgs.append(ndcg_at(K, ranked, query.relevant))
            recalls.append(recall_at(K, ranked, query.relevant))
        found = np.array(ndcgs)
        base = found if base is None else base
        interval = bootstrap_interval((found - base).tolist(), "mean")
        print(
            f"{model:14} {step.name:34} {found.mean():.3f} / {np.mean(recalls):.3f}   "
            f"{(found - base).mean():+.3f} ({interval.low:+.3f} to {interval.high:+.3f})",
            flush=True,
        )
        last = last if step.alone else step
    return last


def _ranked(trial: Trial, asked: Asked, step: Step, number: int) -> list[tuple[str, float, float]]:
    """The best memories: their ids, their scores, and the scores that are shown."""
    among = trial.among[number]
    scores, evidence = asked.scores(step, number, among)
    order = np.argsort(-scores, kind="stable")
    if step.alone == "words":
        order = order[scores[order] > 0]
    kept = len(order) if len(order) <= DEPTH else int(np.count_nonzero(scores[order] >= scores[order[DEPTH - 1]]))
    most = max(float(scores.max()), 1e-9)
    return [
        (trial.memories[among[i]].id, float(scores[i]), evidence * (max(float(scores[i]), 0) / most) ** EVIDENCE_POWER)
        for i in order[:kept]
    ]


def _show_floors(trial: Trial, asked: Asked, step: Step, nothing: Sequence[str]) -> None:
    scopes = list({int(among[0]): among for among in trial.among}.values())
    sure = [asked.scores(step, len(trial.queries) + i, a)[1] for i in range(len(nothing)) for a in scopes]
    for floor in FLOORS:
        lost = []
        for number, query in enumerate(trial.queries):
            hits = _ranked(trial, asked, step, number)[:K]
            relevant = [shown for identity, _, shown in hits if identity in query.relevant]
            lost.append(sum(shown < floor for shown in relevant) / len(query.relevant))
        passed = sum(value >= floor for value in sure)
        print(f"floor {floor:.2f}: recall@10 -{np.mean(lost):.3f}; {passed} of {len(sure)} unanswerable get an answer")
    worst = sorted(zip(sure, (q for q in nothing for _ in scopes), strict=True), reverse=True)[:3]
    print("surest of the unanswerable:", ", ".join(f"{value:.2f} {query}" for value, query in worst))


def _standardised(cosines: Scores) -> Scores:
    sample = cosines[np.linspace(0, len(cosines) - 1, min(SAMPLE, len(cosines))).astype(np.int64)]
    spread = float(sample.std())
    centred: Scores = cosines - sample.mean()
    return centred / spread if spread > 1e-6 else centred * 0


def _unread(embedder: Embedder, query: str) -> float:
    """The share of a query that the model doesn't know; queries in Latin letters are taken for read."""
    letters = letters_by_script([query])
    if better_model(letters) is None:
        return 0.0
    embedded = embed_checked(embedder, [query])
    tokens = embedded.tokens - embedded.special_tokens
    advice = ModelAdvice.on(embedder.spec.name, tokens, embedded.unknown_tokens, letters)
    return embedded.unknown_tokens / tokens if advice is None else advice.unread_ratio


def _cached(embedder: Embedder, texts: Sequence[str], folder: str) -> Vectors:
    if not folder:
        return embed_checked(embedder, texts).vectors
    digest = hashlib.sha256("\0".join([embedder.spec.revision, *texts]).encode()).hexdigest()[:24]
    path = Path(folder) / f"{digest}.npy"
    if not path.exists():
        np.save(path, embed_checked(embedder, texts).vectors)
    vectors: Vectors = np.load(path)
    return vectors


def _joined(
    memories: list[Memory], queries: list[LabelledQuery], size: int
) -> tuple[list[Memory], list[LabelledQuery]]:
    """The memories, so many of a run made one, and the questions for these."""
    groups: list[list[Memory]] = []
    for memory in memories:
        last = groups[-1] if groups else []
        same = bool(last) and (last[0].run, last[0].scope.user_id) == (memory.run, memory.scope.user_id)
        if same and len(last) < size:
            last.append(memory)
        else:
            groups.append([memory])
    first = {memory.id: group[0].id for group in groups for memory in group}
    joined = [replace(group[0], text="\n".join(memory.text for memory in group)) for group in groups]
    relevant = [dict.fromkeys(first[i] for i in query.relevant if i in first) for query in queries]
    return joined, [replace(query, relevant=tuple(ids)) for query, ids in zip(queries, relevant, strict=True)]


def _neighbours(memories: Sequence[Memory]) -> tuple[Places, Places]:
    """Which memory is before, and after, each in its run; the number past the last for none, and of itself."""
    runs: dict[tuple[str, str | None], list[int]] = {}
    for number, memory in enumerate(memories):
        if memory.run is not None:
            runs.setdefault((memory.run, memory.scope.user_id), []).append(number)
    before, after = (np.full(len(memories) + 1, len(memories)) for _ in range(2))
    for run in runs.values():
        run.sort(key=lambda i: (_seconds(memories[i].created_at), i))
        after[run[:-1]], before[run[1:]] = run[1:], run[:-1]
    return before, after


def _seconds(time: datetime | None) -> float:
    return 0.0 if time is None else time.timestamp()


_SPEAKER = re.compile(r"([^\s:][^:\n]{0,40}): ")


def _speakers(memories: Sequence[Memory]) -> list[str | None]:
    found = [_SPEAKER.match(memory.text) for memory in memories]
    return [None if match is None else match.group(1) for match in found]


def _first_word(name: str) -> str:
    return name.split()[0].lower()


_MONTHS = list(calendar.month_name)[1:]
_MONTH = rf"(?P<month>{'|'.join([*_MONTHS, *(m[:3] for m in _MONTHS), 'Sept'])})\b\.?"
_YEAR = r"(?P<year>(?:19|20)\d\d)\b"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_BEFORE_MONTH = "in|on|of|during|since|by|until|last|this|early|late|mid|around|before|after|from|and|to|between|for"
_TIMES = tuple(
    re.compile(pattern)
    for pattern in (
        rf"\b{_YEAR}-(?P<number>\d\d)-(?P<day>\d\d)\b",
        rf"\b{_DAY}(?: of)?,? {_MONTH}(?:,? (?:of )?{_YEAR})?",
        rf"\b{_MONTH} {_DAY}\b(?:,? {_YEAR})?",
        rf"\b{_MONTH},? (?:of )?{_YEAR}",
        rf"\b(?i:{_BEFORE_MONTH}) {_MONTH}",
        r"(?P<year>\d{4})年(?:(?P<number>\d{1,2})月)?(?:(?P<day>\d{1,2})日)?",
        rf"\b{_YEAR}",
    )
)
_DAYS_LATER = 4  # people tell of a day on the days after it


def named_times(query: str) -> Iterator[tuple[int | None, int | None, int | None]]:
    """The year, month and day of each time that a query names, None where it doesn't say."""
    taken: list[tuple[int, int]] = []
    for pattern in _TIMES:
        for match in pattern.finditer(query):
            if any(match.start() < stop and start < match.end() for start, stop in taken):
                continue
            taken.append(match.span())
            parts = match.groupdict()
            month = int(parts["number"]) if parts.get("number") else _month(parts.get("month"))
            year, day = (int(parts[name]) if parts.get(name) else None for name in ("year", "day"))
            yield year, month, day


def _month(name: str | None) -> int | None:
    return None if name is None else [month[:3] for month in _MONTHS].index(name[:3]) + 1


def _is_of(created_at: datetime | None, year: int | None, month: int | None, day: int | None) -> bool:
    if created_at is None:
        return False
    if day is None or month is None:
        return month in (None, created_at.month) and year in (None, created_at.year)
    for of_year in (created_at.year, created_at.year - 1) if year is None else (year,):
        try:
            start = created_at.replace(year=of_year, month=month, day=day, hour=0, minute=0, second=0, microsecond=0)
        except ValueError:  # a 31 June
            continue
        if 0 <= (created_at - start).total_seconds() < _DAYS_LATER * 86_400:
            return True
    return False


if __name__ == "__main__":
    main()
