"""utils/plot_masks.py: the figure shows the masks that the library draws."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import soundfile
import torch
from prepared import make_set, script
from sertools.data.audio import load_audio, normalised
from sertools.models.config import EncoderConfig
from sertools.models.encoder import SpeechEncoder
from sertools.models.weights import save_encoder
from sertools.objectives.emotion_masking import MaskRule, draw_masks, frame_energy

tool = script("plot_masks")
NAMES = ("loud", "soft", "small mask", "large mask")


@pytest.fixture()
def recording(tmp_path):
    generator = np.random.default_rng(0)
    samples = 4 * 16000
    loudness = np.clip(np.sin(np.arange(samples) / 2500), 0, None) ** 2 + 0.02
    path = tmp_path / "speech.wav"
    soundfile.write(path, 0.2 * loudness * generator.standard_normal(samples), 16000)
    return path


def run(capsys, *arguments):
    code = tool.main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return code, said.out, said.err


def marks(path, frames):
    """Return the marked frames of every strip of an SVG, read from places of boxes and tips."""
    name = "{http://www.w3.org/2000/svg}"
    found = {strip: [False] * frames for strip in NAMES}
    width = max(3.0 * frames, 620.0) / frames
    for box in ElementTree.parse(path).getroot().findall(f"{name}rect[@class='mark']"):
        strip, span = box.find(f"{name}title").text.split(": ")
        first, last = (int(n) for n in span.removeprefix("frames ").split(",")[0].split(" to "))
        assert float(box.get("x")) == pytest.approx(112 + width * first, abs=0.02)
        assert float(box.get("width")) == pytest.approx(width * (last + 1 - first), abs=0.02)
        found[strip][first : last + 1] = [True] * (last + 1 - first)
    return found


def wanted(path, rule, seed, frames, window=400, hop=320, place=1, seconds=5.0):
    waveform = normalised(load_audio(path)[: round(16000 * seconds)])
    energy = frame_energy(waveform[None], frames, window, hop).expand(place, -1)
    generator = torch.Generator().manual_seed(seed)
    small, large = draw_masks(energy, torch.full((place,), frames), rule, generator)
    return energy[0].tolist(), small[-1].tolist(), large[-1].tolist()


def test_the_figure_shows_what_is_drawn(recording, tmp_path, capsys):
    code, said, _ = run(capsys, recording, "--out", tmp_path / "f.svg", "--seed", 4)
    energy, small, large = wanted(recording, MaskRule(), 4, 199)
    shown = marks(tmp_path / "f.svg", 199)
    assert code == 0 and shown["small mask"] == small and shown["large mask"] == large
    top = max(energy[:191])
    assert shown["loud"] == [t < 191 and e >= 0.5 * top for t, e in enumerate(energy)]
    assert shown["soft"] == [t < 191 and 0.2 * top <= e <= 0.49 * top for t, e in
                             enumerate(energy)]
    share = f"small mask {sum(small)} ({100 * sum(small) / 199:.1f} %)"
    assert "199 frames, 50 a second" in said and share in said
    assert share in (tmp_path / "f.svg").read_text()


def test_all_settings_reach_the_rule(recording, tmp_path, capsys):
    """Another frame rate, another rule; the encoder may be a folder."""
    torch.manual_seed(0)
    config = EncoderConfig(dim=16, num_layers=1, num_heads=2, ffn_dim=16)
    save_encoder(SpeechEncoder(config), tmp_path / "encoder")
    rule = MaskRule(mask="random", budget="matched", small_span=4, small_spans=9, large_span=20,
                    large_spans=3, gap=2, share=0.5, high=(0.6, 0.9), low=(0.1, 0.3))
    arguments = [recording, "--mask", "random", "--budget", "matched", "--small-span", 4,
                 "--small-spans", 9, "--large-span", 20, "--large-spans", 3, "--gap", 2,
                 "--share", 0.5, "--high", 0.6, 0.9, "--low", 0.1, 0.3, "--seconds", 3]
    frames = config.frames(48000)
    _, small, large = wanted(recording, rule, 0, frames, 880, 640, seconds=3)
    for encoder in ("small", tmp_path / "encoder"):
        assert run(capsys, *arguments, "--encoder", encoder, "--out", tmp_path / "f.svg")[0] == 0
        shown = marks(tmp_path / "f.svg", frames)
        assert shown["small mask"] == small and shown["large mask"] == large


def test_released_thresholds_depend_on_the_place(recording, tmp_path, capsys):
    for place, hears in ((1, True), (4, False)):
        code, _, _ = run(capsys, recording, "--mask", "released", "--place", place,
                         "--out", tmp_path / "f.svg")
        _, small, _ = wanted(recording, MaskRule(mask="released"), 0, 199, place=place)
        shown = marks(tmp_path / "f.svg", 199)
        assert code == 0 and shown["small mask"] == small and any(shown["loud"]) == hears


def test_an_utterance_of_a_manifest_as_png(tmp_path, capsys):
    from PIL import Image

    manifest = make_set(tmp_path) / "utts.json"
    arguments = [manifest, "--data_folder", tmp_path / "release" / "toy", "--out"]
    id = "toy-s3_calm_2"
    code, _, _ = run(capsys, *arguments, tmp_path / "f.svg", "--id", id)
    assert code == 0 and id in (tmp_path / "f.svg").read_text()
    assert run(capsys, *arguments, tmp_path / "f.png", "--id", id)[0] == 0
    frames = 1 + (5600 - 400) // 320
    picture = Image.open(tmp_path / "f.png").convert("RGB")
    shown = marks(tmp_path / "f.svg", frames)
    assert sum(shown["small mask"]) == 8 and sum(shown["large mask"]) >= 1
    inks = {"loud": "#c9772b", "soft": "#5b93a8", "small mask": "#1f5fa8", "large mask": "#7a5bc0"}
    for row, name in enumerate(NAMES):  # the middle of each frame in each strip
        ink = tuple(int(inks[name][n : n + 2], 16) for n in (1, 3, 5))
        for frame, marked in enumerate(shown[name]):
            x, y = 112 + 620 * (frame + 0.5) / frames, 44 + 190 + 10 + 26 * row + 13
            seen = picture.getpixel((round(2 * x), round(2 * y)))
            assert (max(abs(a - b) for a, b in zip(seen, ink, strict=True)) < 12) == marked


@pytest.mark.parametrize("changes, words, code", [
    (["--out", "f.pdf"], "end its name in .svg or .png", 2),
    (["--mask", "loud", "--share", "2"], "mask: 'loud' is unknown", 2),
    (["--seed", "-1", "--place", "0", "--seconds", "-2"], "--place 0", 2),
    (["--encoder", "nothing"], "neither a preset nor an encoder's folder", 2),
    (["--start", "9"], "begin earlier", 2),
    (["--id", "other"], "has no such utterance", 2),
    (["--seconds", "0.1"], "too short", 2),
])
def test_refusals(changes, words, code, recording, tmp_path, capsys):
    found, _, err = run(capsys, recording, "--out", tmp_path / "f.svg", *changes)
    assert found == code and words in err and not (tmp_path / "f.svg").exists()


def test_unreadable_or_many(recording, tmp_path, capsys):
    (tmp_path / "text.wav").write_text("no sound")
    out = ["--out", tmp_path / "f.svg"]
    code, _, err = run(capsys, tmp_path / "text.wav", *out)
    assert code == 3 and "text.wav" in err
    code, _, err = run(capsys, tmp_path, *out)
    assert code == 2 and "2 utterances" in err and "--id" in err
    code, _, err = run(capsys, tmp_path / "gone.wav", *out)
    assert code == 2 and "there is no such file" in err
