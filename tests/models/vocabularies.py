"""Small vocabularies as GGUF metadata, with the `tokenizers` library's tokenizer over the same one."""

from __future__ import annotations

import json

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CORPUS = [
    "The capital of Norway is Oslo. It's the largest city; 700,000 people live there, don't they?",
    "def f(x):\n    return x ** 2  # squares\n\n\tprint(f(12345))\r\n",
    "Blåbærsyltetøy, smørbrød og rømmegrøt. Ærlig talt!  你好,世界。 Привет, мир 🙂🙂",
    "We'll see THEY'LL go I'M here...   <|im_end|> $100 + 20% = <x> ^ ~ | 3.14159",
] * 3

CONTRACTIONS = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
SPLITS = {
    "gpt-2": [GPT2],
    "smollm": [r"\p{N}", GPT2],
    "llama-bpe": [CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + TAIL],
    "qwen2": [CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + TAIL],
    "default": [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", r"[0-9][0-9][0-9]"],
}


def pre_tokenizer(family: str) -> pre_tokenizers.PreTokenizer:
    """The library's pre-tokenizer of a family."""
    cuts = [pre_tokenizers.Split(Regex(expression), "isolated") for expression in SPLITS[family]]
    return pre_tokenizers.Sequence([*cuts, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def trained(family: str, size: int = 440) -> tuple[dict[str, object], Tokenizer]:
    """Metadata and the library's tokenizer of a vocabulary with every byte and three control tokens."""
    oracle = Tokenizer(models.BPE(ignore_merges=family == "llama-bpe"))
    oracle.pre_tokenizer = pre_tokenizer(family)
    oracle.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=CONTROL, initial_alphabet=alphabet, show_progress=False
    )
    oracle.train_from_iterator(CORPUS, trainer)
    model = json.loads(oracle.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    return bpe_metadata(family, tokens, merges), oracle


def bpe_metadata(family: str, tokens: list[str], merges: list[str]) -> dict[str, object]:
    """GGUF metadata of a byte-pair vocabulary whose control tokens are `CONTROL`."""
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": family,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [3 if token in CONTROL else 1 for token in tokens],
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.bos_token_id": tokens.index(CONTROL[1]),
        "tokenizer.ggml.eos_token_id": tokens.index(CONTROL[2]),
    }


def sentencepiece_metadata() -> dict[str, object]:
    """GGUF metadata of a score-based vocabulary: three control tokens, all bytes, some letters and words."""
    pieces = ["a", "b", "c", "\u2581", "ab", "bc", "abc", "\u2581a", "\u2581ab", "aa", "bb", "ca", "æ", "æb"]
    scores = [0.0, 0.0, 0.0, 0.0, -1.0, -2.0, -3.0, -1.5, -4.0, -0.5, -1.0, -2.5, 0.0, -0.25]
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)] + pieces
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [2, 3, 3] + [6] * 256 + [1] * len(pieces),
        "tokenizer.ggml.scores": [0.0] * 259 + scores,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
    }
