"""The scripts of texts, whether a model can read them, and which model can. Standard library only."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Final, Literal, TypeAlias

Script: TypeAlias = Literal["han", "kana", "hangul", "other", "rest"]

UNREAD_WARNING_RATIO: Final = 0.2  # above this share of unknown text, a model does not read a text
MULTILINGUAL_MODEL: Final = "multilingual-e5-small"
MULTILINGUAL_ALIAS: Final = "multilingual"

_HAN: Final = r"\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
_KANA: Final = r"\u3040-\u30ff\uff66-\uff9f"
_HANGUL: Final = r"\uac00-\ud7af\u1100-\u11ff\u3130-\u318f"
_LATIN: Final = r"\u0000-\u024f\u1e00-\u1eff"
_LETTERS: Final[dict[Script, re.Pattern[str]]] = {
    "han": re.compile(f"[{_HAN}]+"),
    "kana": re.compile(f"[{_KANA}]+"),
    "hangul": re.compile(f"[{_HANGUL}]+"),
    "other": re.compile(rf"[^\W\d_{_LATIN}{_HAN}{_KANA}{_HANGUL}]+"),
}
# Tokens per letter in scripts other than Latin. Measured: MiniLM makes 0.7 to 2.1 tokens per letter of Korean, Russian,
# Arabic, Hindi, Greek and Hebrew, whose letters it knows but not the words, and one unknown token for a whole line of
# Thai or katakana. Models that know the words need 0.3 to 0.65; a Chinese model needs one per Han character.
_SPELLED_TOKENS: Final = 0.7
_SWALLOWED_TOKENS: Final = 0.15
_REST_TOKENS: Final = (1 / 6, 1 / 3)  # the minimum and maximum of tokens per character of Latin text


def letters_by_script(texts: Iterable[str]) -> Counter[Script]:
    """The number of characters by script: Han, kana, Hangul, other letters except Latin, and the rest."""
    letters: Counter[Script] = Counter()
    for text in texts:
        letters["rest"] += len(text)
        if text.isascii():
            continue
        for script, pattern in _LETTERS.items():
            count = sum(map(len, pattern.findall(text)))
            letters[script] += count
            letters["rest"] -= count
    return letters


def better_model(letters: Mapping[Script, int]) -> str | None:
    """The alias of the catalogue's model for texts in scripts other than Latin; None for Latin texts."""
    return MULTILINGUAL_ALIAS if letters.get("han", 0) or _not_han(letters) else None


@dataclass(frozen=True, slots=True)
class ModelAdvice:
    """Advice that a model can't read some texts; `better` is a model that can, or None if none is known.

    `unread_ratio` is the share of their tokens (with `of_letters`, of their characters) that the model has no words
    for.
    """

    model: str
    unread_ratio: float
    of_letters: bool
    better: str | None

    def to_dict(self) -> dict[str, str | float | None]:
        """The advice as a JSON object."""
        return asdict(self)

    @classmethod
    def on(
        cls,
        model: str,
        tokens: int,
        unknown_tokens: int,
        letters: Mapping[Script, int],
        store_letters: Mapping[Script, int] | None = None,
    ) -> "ModelAdvice | None":
        """The advice for texts with these token counts (without special tokens); None if the model reads them.

        `store_letters` are the letters that the better model must read, if these are more than those of the texts.
        """
        unread_ratio = unknown_tokens / tokens if tokens else 0.0
        of_letters = unread_ratio <= UNREAD_WARNING_RATIO
        if of_letters:
            unread_ratio = _wordless_ratio(tokens, unknown_tokens, letters)
        if unread_ratio <= UNREAD_WARNING_RATIO:
            return None
        better = better_model(store_letters or letters)
        return cls(model, unread_ratio, of_letters, None if model == MULTILINGUAL_MODEL else better)

    def said_of(self, texts: str) -> str:
        """The problem in words; `texts` names the texts."""
        if self.of_letters:
            return f"{self.model} has no words for {self.unread_ratio:.0%} of {texts}"
        return f"{self.model} does not know {self.unread_ratio:.0%} of the tokens of {texts}"


def _not_han(letters: Mapping[Script, int]) -> int:
    return letters.get("kana", 0) + letters.get("hangul", 0) + letters.get("other", 0)


def _wordless_ratio(tokens: int, unknown_tokens: int, letters: Mapping[Script, int]) -> float:
    """The share of characters that the model reads letter by letter, or several as one unknown token."""
    han, others, rest = letters.get("han", 0), _not_han(letters), letters.get("rest", 0)
    fewest, most = (share * rest for share in _REST_TOKENS)
    if others and tokens - han - most >= _SPELLED_TOKENS * others:
        return others / sum(letters.values())
    if unknown_tokens and tokens - unknown_tokens - fewest < _SWALLOWED_TOKENS * (han + others):
        return (han + others) / sum(letters.values())
    return 0.0
