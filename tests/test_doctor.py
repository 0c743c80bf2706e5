"""The doctor sees what is there and says what is wrong."""

import importlib.metadata

from sertools import doctor


def test_healthy_environment_has_no_faults(capsys):
    assert doctor.main() == 0
    printed = capsys.readouterr().out
    for name in ("python", "torch", "torchaudio", "speechbrain", "GPU"):
        assert name in printed
    assert "Nothing is wrong" in printed


def test_missing_and_misfit_packages_are_named_with_a_remedy(monkeypatch, capsys):
    real = importlib.metadata.version

    def version(name):
        if name == "transformers":
            raise importlib.metadata.PackageNotFoundError(name)
        return "2.99.0" if name == "torch" else real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert doctor.main() == 2
    printed = capsys.readouterr().out
    assert "transformers is not installed" in printed
    assert "torch 2.99.0 is installed, but torch" in printed
    assert "make install" in printed


def test_a_package_that_breaks_on_import_is_a_fault_not_a_crash(monkeypatch):
    real = doctor.importlib.import_module

    def import_module(name):
        if name == "torch":
            raise OSError("libtorch.so: cannot open")
        return real(name)

    monkeypatch.setattr(doctor.importlib, "import_module", import_module)
    assert any("libtorch.so" in what for what, _ in doctor.examine().faults)
