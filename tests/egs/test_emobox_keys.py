"""The lists of EmoBox name utterances of these recipes, however they spell their keys."""

import pytest
import trees
from sertools.data.corpus import Faults
from sertools.data.emobox import EmoBox, match_emobox

ROWS = {  # corpus -> a key of its lists @ 08280f2, the audio there, the file of the release
    "savee": ("savee-JE-n26", "savee/JE_n26.wav", "AudioData/JE/n26.wav"),
    "aesdd": ("aesdd-d08-5", "aesdd/disgust/d08 (5).wav", "disgust/d08 (5).wav"),
    "cafe": ("cafe-01-S-1-3", "cafe/CaFE_48k/Surprise/Faible/01-S-1-3.wav",
             "Surprise/Faible/01-S-1-3.wav"),
    "emovo": ("emovo-rab-f2-d2", "emovo/f2/rab-f2-d2.wav", "f2/rab-f2-d2.wav"),
    "resd": ("resd-04_fear_enthusiasm f_140.wav",
             "resd/test/04_fear_enthusiasm/04_fear_enthusiasm f_140.wav",
             "test/04_fear_enthusiasm/04_fear_enthusiasm f_140.wav"),
    "shemo": ("shemo-M06W01", "shemo/male/M06W01.wav", "male/M06W01.wav"),
    "subesco": ("subesco-M_02_NIPUN_S_1_SAD_1", "subesco/M_02_NIPUN_S_1_SAD_1.wav",
                "M_02_NIPUN_S_1_SAD_1.wav"),
    "esd": ("esd-0001-000351", "esd/0001/Angry/0001_000351.wav",
            "0001/Angry/train/0001_000351.wav"),
    "mead": ("mead-W019-neutral-level-1-020", "mead/W019/audio/neutral/level_1/020.m4a",
             "W019/audio/neutral/level_1/020.flac"),
    "tess": ("tess-YAF-chief-sad", "tess/YAF_chief_sad.wav", "YAF_sad/YAF_chief_sad.wav"),
    "casia": ("casia-239-liuchanhg-neutral", "casia/liuchanhg/neutral/239.wav",
              "liuchanhg/neutral/239.wav"),
    "jl_corpus": ("jlcorpus-female2-angry-10a-1", "jlcorpus/Raw JL corpus (unchecked and "
                  "unannotated)/JL(wav+txt)/female2_angry_10a_1.wav",
                  "Raw JL corpus (unchecked and unannotated)/JL(wav+txt)/female2_angry_10a_1.wav"),
    "mesd": ("mesd-Happiness_F_A_de_nada", "mesd/Mexican Emotional Speech Database (MESD)/"
             "Happiness_F_A_de_nada.wav", "Happiness_F_A_de_nada.wav"),
    "turev_db": ("turevdb-1984_kz_melek.wav", "turevdb/Sound Source/Angry/1984_kz_melek.wav",
                 "Sound Source/Angry/1984_kz_melek.wav"),
    "polish": ("polish-m3.s_trzymaj_5", "polish/m3.s_trzymaj_5.wav", "m3.s_trzymaj_5.wav"),
    "enterface": ("enterface-s_3_su_4.avi", "enterface/subject 3/surprise/sentence 4/s_3_su_4.avi",
                  "subject 3/surprise/sentence 4/s_3_su_4.flac"),
}  # fmt: skip


@pytest.mark.parametrize("corpus", ROWS)
def test_a_key_of_emobox_finds_its_utterance(corpus, tmp_path, load_prepare):
    key, audio, file = ROWS[corpus]
    trees.name_only(tmp_path / file)
    faults = Faults()
    (record,) = load_prepare(corpus).records(tmp_path, faults)
    lists = EmoBox({"1": {"test": {key: {"wav": f"downloads/{audio}", "emo": "any"}}}})
    matched = match_emobox(lists, {record.id: record})
    assert not faults.faults and not matched.missing
    assert matched.folds == {"1": {"test": [record.id]}}
