import hashlib
import shutil

import pytest
import sentencepiece
import torch
import transformers
from sertools.data.tokens import (
    SentencePieceTokeniser,
    TransformersTokeniser,
    pad_tokens,
    train_sentencepiece,
    transformers_tokeniser,
)
from sertools.errors import ConfigError, DataError
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

TEXTS = [
    "Der Lappen liegt auf dem Eisschrank.",
    "Das will sie am Mittwoch abgeben.",
    "Heute Abend könnte ich es ihm sagen.",
    "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "In sieben Stunden wird es soweit sein.",
    "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
]


def wordpiece(folder):
    """Save a tokeniser as BERT's, of these few texts."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=120, special_tokens=special)
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(
        folder)  # fmt: skip
    return folder


def byte_pairs(folder):
    """Save a tokeniser as RoBERTa's."""
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(TEXTS, trainers.BpeTrainer(
        vocab_size=300, special_tokens=special, initial_alphabet=alphabet))  # fmt: skip
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    names = {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>",
             "pad_token": "<pad>", "unk_token": "<unk>"}  # fmt: skip
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(
        folder)  # fmt: skip
    return folder


@pytest.fixture(scope="module", params=[wordpiece, byte_pairs], ids=["wordpiece", "bytes"])
def folder(request, tmp_path_factory):
    return request.param(tmp_path_factory.mktemp("tokeniser"))


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    return train_sentencepiece(TEXTS, 320, tmp_path_factory.mktemp("pieces") / "text.model")


def test_tokens_are_those_of_the_library(folder):
    ours = transformers_tokeniser(folder, max_tokens=128)
    theirs = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for text in [*TEXTS, "völlig 漢字 neu!", "  zwei  Lücken "]:
        assert ours.encode(text) == theirs.encode(text).ids
    assert ours.vocabulary == theirs.get_vocab_size()
    assert ours.padding == theirs.token_to_id("[PAD]" if ours.unknown == 1 else "<pad>")


def test_long_texts_lose_their_end_but_not_the_last_special_token(folder):
    ours = transformers_tokeniser(folder, max_tokens=6)
    theirs = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for text in TEXTS:
        whole = theirs.encode(text).ids
        assert len(whole) > 6
        assert ours.encode(text) == [*whole[:5], whole[-1]]


@pytest.mark.parametrize("nothing", [None, "", "  \n\t"])
def test_no_text_is_the_special_tokens(folder, pieces, nothing):
    ours = transformers_tokeniser(folder)
    assert ours.encode(nothing) == ([2, 3] if ours.unknown == 1 else [0, 2])
    assert SentencePieceTokeniser(pieces).encode(nothing) == [2, 3]


def test_what_is_empty_cut_and_unknown_is_counted(tmp_path):
    ours = transformers_tokeniser(wordpiece(tmp_path), max_tokens=12)
    unknown = ours.unknown
    encoding = ours.encode_all({"a": "Das 漢 字", "b": None, "c": " ", "d": TEXTS[3], "e": "das"})
    assert encoding.tokens["a"].count(unknown) == 2 == encoding.unknown
    assert (encoding.empty, encoding.cut) == (["b", "c"], ["d"])
    assert list(encoding.tokens) == ["a", "b", "c", "d", "e"]
    assert encoding.flags == ["2 of 5 utterances have no text",
                              "1 of 5 texts were cut at the longest length",
                              "2 tokens are unknown to the tokeniser"]
    assert ours.encode_all({"a": "das"}).flags == []


def test_a_text_of_just_the_longest_length_is_not_cut(folder):
    long = len(transformers_tokeniser(folder).encode(TEXTS[0]))
    assert transformers_tokeniser(folder, long).encode_all({"a": TEXTS[0]}).cut == []
    assert transformers_tokeniser(folder, long - 1).encode_all({"a": TEXTS[0]}).cut == ["a"]


def test_identity_depends_on_contents_not_on_what_was_encoded(tmp_path):
    first = transformers_tokeniser(wordpiece(tmp_path / "a"))
    second = transformers_tokeniser(shutil.copytree(tmp_path / "a", tmp_path / "b"))
    first.encode("wort " * 500)  # sets the library's state of truncation
    again = TransformersTokeniser(first.tokenizer)
    assert first.identity == second.identity == again.identity
    assert transformers_tokeniser(tmp_path / "a", 64).identity != first.identity
    assert transformers_tokeniser(byte_pairs(tmp_path / "c")).identity != first.identity


def test_a_tokeniser_without_a_template_still_has_something_for_nothing(tmp_path):
    tokenizer = Tokenizer(models.WordLevel({"<pad>": 0, "<unk>": 1, "da": 2}, unk_token="<unk>"))
    plain = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>")
    assert TransformersTokeniser(plain).encode("") == [0]
    assert TransformersTokeniser(plain).encode("da") == [2]
    bare = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    with pytest.raises(ConfigError, match="no special token"):
        TransformersTokeniser(bare)


def test_unreadable_tokenisers_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no tokeniser"):
        transformers_tokeniser(tmp_path / "empty")
    broken = wordpiece(tmp_path / "broken")
    (broken / "tokenizer.json").write_text("{")
    with pytest.raises(ConfigError, match="cannot be read"):
        transformers_tokeniser(broken)
    with pytest.raises(ConfigError, match="leave no room"):
        transformers_tokeniser(wordpiece(tmp_path / "short"), max_tokens=2)


def test_sentencepiece_is_the_same_file_every_time(pieces, tmp_path):
    again = train_sentencepiece([*reversed(TEXTS), None, " "], 320, tmp_path / "new" / "m.model")
    assert again.read_bytes() == pieces.read_bytes()
    assert [path.name for path in again.parent.iterdir()] == ["m.model"]
    digest = hashlib.sha256(pieces.read_bytes()).hexdigest()
    expected = hashlib.sha256(f"128\n{digest}".encode()).hexdigest()
    assert SentencePieceTokeniser(pieces).identity == expected
    assert SentencePieceTokeniser(pieces, 64).identity != expected


def test_sentencepiece_against_the_library(pieces):
    ours = SentencePieceTokeniser(pieces)
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(pieces))
    assert ours.vocabulary == theirs.get_piece_size() == 320
    for text in TEXTS:
        tokens = ours.encode(text)
        assert tokens == theirs.encode(text, add_bos=True, add_eos=True)
        assert theirs.decode(tokens) == text
        assert max(tokens) < ours.vocabulary
        assert SentencePieceTokeniser(pieces, 5).encode(text) == [*tokens[:4], tokens[-1]]


def test_unseen_characters_are_bytes_and_nothing_is_normalised(pieces):
    ours = SentencePieceTokeniser(pieces)
    for text in ("漢字 🎉", "ÄÖÜ ﬁ ²", "ΣΣ ς"):
        encoding = ours.encode_all({"a": text})
        assert encoding.unknown == 0
        assert ours.model.decode(encoding.tokens["a"]) == text


def test_too_few_texts_lower_the_vocabulary_and_say_so(tmp_path):
    said = []
    model = train_sentencepiece(TEXTS[:2], 2000, tmp_path / "m.model", said.append)
    found = SentencePieceTokeniser(model).vocabulary
    assert 260 < found < 400
    assert said == [f"the vocabulary has {found} pieces instead of 2000: the texts have no more"]
    train_sentencepiece(TEXTS, 320, tmp_path / "m.model", said.append)
    assert len(said) == 1


def test_vocabularies_that_cannot_be_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="vocabulary of 100 cannot"):
        train_sentencepiece(TEXTS, 100, tmp_path / "m.model")
    with pytest.raises(DataError, match="no text"):
        train_sentencepiece([None, " "], 300, tmp_path / "m.model")
    assert list(tmp_path.iterdir()) == []
    for content in (None, b"", b"nonsense"):
        if content is not None:
            (tmp_path / "m.model").write_bytes(content)
        with pytest.raises(ConfigError, match="SentencePiece model|no pieces"):
            SentencePieceTokeniser(tmp_path / "m.model")


def test_padding():
    tokens, lengths = pad_tokens([[5, 6, 7], [8]], padding=1)
    assert torch.equal(tokens, torch.tensor([[5, 6, 7], [8, 1, 1]]))
    assert torch.equal(lengths, torch.tensor([3, 1]))
