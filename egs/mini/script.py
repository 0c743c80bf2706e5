"""What is said: the sentences with their phonemes, and what every phoneme asks of the voice."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

SHAPES = {
    "s": ((6000.0, 1300.0, 1.0),),
    "sh": ((3000.0, 700.0, 1.0), (4600.0, 1100.0, 0.6)),
    "f": ((1600.0, 900.0, 0.3), (5500.0, 3000.0, 0.45)),
    "k": ((1900.0, 450.0, 1.0), (4200.0, 900.0, 0.25)),
    "p": ((700.0, 600.0, 1.0),),
}
"""Spectra of noise made in the mouth: bands of (centre in Hz, width in Hz, amplitude)."""


@dataclass(frozen=True)
class Phone:
    """What one phoneme asks of the voice; formants are those of a male adult, in Hz."""

    formants: tuple[float, float, float] | None
    """Targets of F1, F2, F3; None: those of the phoneme that follows"""
    seconds: float
    """Duration in a stressed syllable at ordinary rate"""
    voice: float = 1.0
    """Amplitude of the glottal pulses, 1 = open vowel"""
    breath: float = 0.0
    """Amplitude of noise made at the glottis"""
    noise: dict[str, float] = field(default_factory=dict)
    """Amplitude of noise made in the mouth, by its shape in SHAPES"""
    glide: tuple[float, float, float] | None = None
    """Where a diphthong ends"""
    nasal: bool = False
    muffled: float = 0.0
    """Loss at 3 kHz in dB while the mouth is shut or narrow"""
    burst: Phone | None = None
    """What a plosive releases after its closure"""
    vowel: bool = False


def _vowel(f1, f2, f3, seconds=0.115, glide=None) -> Phone:
    return Phone((f1, f2, f3), seconds, glide=glide, vowel=True)


def _fricative(place, seconds, shape, amplitude, voice=0.0) -> Phone:
    return Phone(place, seconds, voice=voice, noise={shape: amplitude}, muffled=8.0)


def _plosive(place, shape, amplitude, voiced) -> Phone:
    if voiced:
        burst = Phone(place, 0.014, voice=0.5, noise={shape: 0.6 * amplitude})
        return Phone(place, 0.055, voice=0.16, muffled=28.0, burst=burst)
    release = Phone(None, 0.032, voice=0.0, breath=0.18)
    burst = Phone(place, 0.014, voice=0.0, noise={shape: amplitude}, burst=release)
    return Phone(place, 0.062, voice=0.0, burst=burst)


def _nasal(f1, f2, f3) -> Phone:
    return Phone((f1, f2, f3), 0.065, voice=0.55, nasal=True, muffled=8.0)


_LABIAL, _TEETH, _RIDGE = (300, 950, 2200), (320, 1350, 2500), (300, 1750, 2650)
_PALATE, _VELUM = (300, 1900, 2500), (300, 2000, 2350)

PHONES = {
    # vowels: averages of men's voices as the textbooks of phonetics give them
    "IY": _vowel(280, 2250, 2950), "IH": _vowel(390, 1990, 2550, 0.095),
    "EH": _vowel(540, 1830, 2480), "AE": _vowel(660, 1720, 2410, 0.135),
    "AH": _vowel(630, 1200, 2400, 0.1), "AX": _vowel(490, 1400, 2450, 0.075),
    "AA": _vowel(720, 1100, 2440, 0.135), "AO": _vowel(570, 850, 2410, 0.13),
    "UW": _vowel(310, 900, 2240, 0.12), "ER": _vowel(480, 1340, 1700, 0.12),
    "EY": _vowel(480, 1880, 2500, 0.145, (330, 2200, 2800)),
    "AY": _vowel(710, 1200, 2450, 0.17, (380, 2000, 2600)),
    "OW": _vowel(500, 980, 2400, 0.145, (370, 820, 2300)),
    "AW": _vowel(700, 1250, 2450, 0.165, (430, 920, 2300)),
    # approximants and nasals
    "L": Phone((370, 1080, 2650), 0.065, voice=0.6, muffled=4.0),
    "R": Phone((340, 1150, 1600), 0.065, voice=0.6, muffled=3.0),
    "W": Phone((300, 650, 2200), 0.065, voice=0.55, muffled=5.0),
    "M": _nasal(280, 950, 2200), "N": _nasal(280, 1600, 2600), "NG": _nasal(280, 1950, 2400),
    # fricatives
    "S": _fricative(_RIDGE, 0.1, "s", 0.42), "Z": _fricative(_RIDGE, 0.075, "s", 0.22, 0.35),
    "SH": _fricative(_PALATE, 0.1, "sh", 0.45),
    "F": _fricative(_LABIAL, 0.09, "f", 0.22), "V": _fricative(_LABIAL, 0.055, "f", 0.09, 0.45),
    "DH": _fricative(_TEETH, 0.045, "f", 0.08, 0.45),
    "HH": Phone(None, 0.06, voice=0.08, breath=0.22),
    # plosives
    "P": _plosive(_LABIAL, "p", 0.35, False), "B": _plosive(_LABIAL, "p", 0.35, True),
    "T": _plosive(_RIDGE, "s", 0.45, False), "D": _plosive(_RIDGE, "s", 0.35, True),
    "K": _plosive(_VELUM, "k", 0.45, False), "G": _plosive(_VELUM, "k", 0.35, True),
    "|": Phone(None, 0.11, voice=0.0),
}  # fmt: skip
"""The phonemes by their ARPAbet name (AX is the reduced vowel, | a pause)."""

SENTENCES = {
    # wording without valence: said in every emotion
    "n01": (0, "The bus leaves at nine, every day.",
            "DH AX B AH1 S L IY1 V Z AE T N AY1 N | EH1 V R IY D EY1"),
    "n02": (0, "We moved the table near the door.",
            "W IY M UW1 V D DH AX T EY1 B AX L N IH1 R DH AX D AO1 R"),
    "n03": (0, "My coat is hanging on the wall.",
            "M AY K OW1 T IH Z HH AE1 NG IH NG AA N DH AX W AO1 L"),
    "n04": (0, "They will meet him again, on Sunday.",
            "DH EY W IH L M IY1 T HH IH M AX G EH1 N | AA N S AH1 N D EY"),
    "n05": (0, "The paper is lying on the desk.",
            "DH AX P EY1 P ER IH Z L AY1 IH NG AA N DH AX D EH1 S K"),
    "n06": (0, "It is almost seven in the evening.",
            "IH T IH Z AO1 L M OW S T S EH1 V AX N IH N DH IY IY1 V N IH NG"),
    "n07": (0, "She told me about the new number.",
            "SH IY T OW1 L D M IY AX B AW1 T DH AX N UW1 N AH1 M B ER"),
    "n08": (0, "The slow train goes over the river.",
            "DH AX S L OW1 T R EY1 N G OW Z OW1 V ER DH AX R IH1 V ER"),
    # pleasant wording
    "p01": (1, "I won the first prize today.",
            "AY W AH1 N DH AX F ER1 S T P R AY1 Z T AX D EY1"),
    "p02": (1, "We are going to have a lovely holiday.",
            "W IY AA R G OW1 IH NG T AX HH AE V AX L AH1 V L IY HH AA1 L AX D EY"),
    "p03": (1, "My best friend is coming home.",
            "M AY B EH1 S T F R EH1 N D IH Z K AH1 M IH NG HH OW1 M"),
    "p04": (1, "The doctor says that all is well.",
            "DH AX D AA1 K T ER S EH1 Z | DH AX T AO1 L IH Z W EH1 L"),
    # unpleasant wording
    "u01": (-1, "I lost my keys and all my money.",
            "AY L AO1 S T M AY K IY1 Z | AX N D AO1 L M AY M AH1 N IY"),
    "u02": (-1, "They broke our window last night.",
            "DH EY B R OW1 K AA R W IH1 N D OW L AE1 S T N AY1 T"),
    "u03": (-1, "Nobody ever listens to me.",
            "N OW1 B AA D IY EH1 V ER L IH1 S AX N Z T AX M IY1"),
    "u04": (-1, "The letter was full of bad news.",
            "DH AX L EH1 T ER W AX Z F AO1 L AX V B AE1 D N UW1 Z"),
}  # fmt: skip
"""Sentence -> (valence of its wording, text, phonemes; 1 marks the stressed vowels)."""


@dataclass(frozen=True)
class Segment:
    """A phoneme, or one part of a plosive, in its place in a sentence."""

    phone: Phone
    seconds: float
    """Duration at ordinary rate"""
    stressed: bool
    pause: bool


def segments(sentence: str) -> list[Segment]:
    """Return the parts of a sentence in order; the last stretch is lengthened as in speech."""
    names = SENTENCES[sentence][2].split()
    parts: list[Segment] = []
    for place, name in enumerate(names):
        stressed = name.endswith("1")
        phone: Phone | None = PHONES[name.removesuffix("1")]
        factor = 1.0 if stressed or not phone.vowel else 0.62
        factor *= 1.35 if place >= len(names) - 3 else 1.0
        while phone is not None:
            parts.append(Segment(phone, factor * phone.seconds, stressed, name == "|"))
            phone = phone.burst
    return _with_following_formants(parts)


def _with_following_formants(parts: list[Segment]) -> list[Segment]:
    """Give sounds that have no place of their own the formants of what comes next."""
    filled, following = [], PHONES["AX"].formants
    for part in reversed(parts):
        if part.phone.formants is None:
            part = replace(part, phone=replace(part.phone, formants=following))
        following = part.phone.formants
        filled.append(part)
    return filled[::-1]
