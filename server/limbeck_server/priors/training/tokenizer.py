"""A tokenizer in CLIP's format for the known world's words: each of them is one token, all else falls back to letters.

Byte-pair encoding (Sennrich et al. 2016) as CLIP has it: bytes written as printable letters, a mark at the end of a
word, and merges in the order of their rank. The merges are not learnt from a text but laid out word by word.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from limbeck_server.known_world.captions import CAPTION_WORDS, vocabulary

END_OF_WORD = "</w>"
START, END = "<|startoftext|>", "<|endoftext|>"
_WORD = re.compile(r"[a-z]+")


def world_words() -> tuple[str, ...]:
    """Return every word that a caption of the known world may use, in alphabetical order."""
    phrases = [phrase for kind in vocabulary().values() for phrase in kind] + list(CAPTION_WORDS)
    return tuple(sorted({word for phrase in phrases for word in _WORD.findall(phrase.lower())}))


def build_vocabulary(words: Iterable[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the tokens and the merges, in the order of their rank, that make each word one token.

    A merge that is added later has a higher rank, so it never changes what became of the words before it.

    >>> build_vocabulary(["of", "off"])[1]
    [('o', 'f</w>'), ('o', 'f'), ('of', 'f</w>')]
    """
    letters = _byte_letters()
    tokens = [*letters, *(letter + END_OF_WORD for letter in letters)]
    ranks: dict[tuple[str, str], int] = {}
    for word in words:
        parts = _encode(word, ranks)
        while len(parts) > 1:
            ranks[parts[0], parts[1]] = len(ranks)
            tokens.append(parts[0] + parts[1])
            parts = _encode(word, ranks)
    return [*dict.fromkeys(tokens), START, END], list(ranks)


def write_tokenizer(folder: Path, words: Iterable[str], max_tokens: int) -> int:
    """Write the files that `CLIPTokenizer` reads; return how many tokens there are. The last one is the end mark.

    Args:
        folder: made if it is not there.
        words: in lower case, each to be one token.
        max_tokens: the longest text, its start and end marks included.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokens, merges = build_vocabulary(words)
    names = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    config = {**names, "model_max_length": max_tokens, "tokenizer_class": "CLIPTokenizer"}
    numbered = {token: index for index, token in enumerate(tokens)}
    texts = {
        "vocab.json": json.dumps(numbered, ensure_ascii=False),
        "merges.txt": "#version: 0.2\n" + "".join(f"{one} {two}\n" for one, two in merges),
        "tokenizer_config.json": json.dumps(config, indent=2) + "\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return len(tokens)


def _encode(word: str, ranks: dict[tuple[str, str], int]) -> list[str]:
    """Return the pieces of a word: of all adjacent pairs, the one of lowest rank is merged first, as readers do."""
    parts = [*word[:-1], word[-1] + END_OF_WORD]
    while len(parts) > 1:
        pair = min(pairwise(parts), key=lambda pair: ranks.get(pair, len(ranks)))
        if pair not in ranks:
            break
        merged, position = [], 0
        while position < len(parts):
            joined = tuple(parts[position : position + 2]) == pair
            merged.append("".join(pair) if joined else parts[position])
            position += 2 if joined else 1
        parts = merged
    return parts


def _byte_letters() -> list[str]:
    """Return a printable letter for each of the 256 bytes: GPT-2's table, in the order in which CLIP lists it."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(256 - len(printable))]
