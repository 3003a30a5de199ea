#!/usr/bin/env python3
"""Make small models of SentencePiece, as seeds for fuzzing: Tests/Fixtures/formats/sentencepiece.

Usage: python sentencepiece_fixtures.py
"""

from pathlib import Path

import sentencepiece

HERE = Path(__file__).resolve().parent
OUT = HERE.parent / "sentencepiece"


def main():
    OUT.mkdir(exist_ok=True)
    corpus = HERE.parents[3] / "SampleModels" / "corpus.txt"
    number = 0
    for kind in ("bpe", "unigram"):
        for prefix in (True, False):
            for rule in ("identity", "nmt_nfkc"):
                for extra in ({}, {"user_defined_symbols": ["<|a|>"], "pad_id": 3}):
                    if rule == "nmt_nfkc" and extra:
                        continue
                    number += 1
                    sentencepiece.SentencePieceTrainer.train(
                        input=str(corpus), model_prefix=str(OUT / f"{kind}{number:02}"), model_type=kind,
                        vocab_size=300, byte_fallback=rule == "identity" and not prefix,
                        hard_vocab_limit=False, normalization_rule_name="identity", add_dummy_prefix=prefix,
                        remove_extra_whitespaces=rule != "identity", character_coverage=0.98, minloglevel=2, **extra,
                    )  # fmt: skip
    for path in OUT.glob("*.vocab"):
        path.unlink()


if __name__ == "__main__":
    main()
