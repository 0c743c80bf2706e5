"""torchaudio and speechbrain import beside any torch of the supported range."""

import subprocess
import sys
import textwrap

import pytest


def run(code: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120
    )


def test_import_sertools_loads_nothing_heavy():
    result = run("import sertools, sys; print({'torch', 'numpy', 'torchaudio'} & set(sys.modules))")
    assert result.stdout.strip() == "set()"


@pytest.mark.parametrize("error", ["OSError('libcudart.so')", "RuntimeError('CUDA 13.2')"])
def test_broken_extension_is_replaced_and_says_why(error):
    """Whatever this machine has, an extension that raises must not take torchaudio down."""
    result = run(f"""
        import sertools
        import torch
        def broken(*_, **__):
            raise {error}
        import importlib.util, sys, types
        package = types.ModuleType("torchaudio._extension.utils")
        package._check_cuda_version = package._init_dll_path = package._load_lib = broken
        sys.modules["torchaudio._extension.utils"] = package
        import torchaudio
        from sertools import _torchaudio_guard
        print(_torchaudio_guard.reason)
        out = torchaudio.functional.resample(torch.ones(441), 44100, 16000)
        print(len(out))
        import speechbrain
        try:
            torchaudio.functional.forced_align(torch.zeros(1, 4, 2), torch.ones(1, 1, dtype=int))
        except RuntimeError as refused:
            print("doctor" in str(refused))
    """)
    reason, samples, refused = result.stdout.split("\n")[:3]
    assert reason in error
    assert samples == "160"
    assert refused == "True", result.stderr


def test_other_errors_of_the_extension_are_not_hidden():
    result = run("""
        import sertools, sys, types, torch
        package = types.ModuleType("torchaudio._extension.utils")
        def broken(*_, **__):
            raise KeyError("a bug")
        package._check_cuda_version = package._init_dll_path = package._load_lib = broken
        sys.modules["torchaudio._extension.utils"] = package
        import torchaudio
    """)
    assert result.returncode != 0 and "a bug" in result.stderr
