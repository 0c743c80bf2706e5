"""A corpus folder's fingerprint notices what matters and nothing else."""

import os

from sertools.stages.listing import fingerprint


def test_fingerprint_notices_changes_of_files(tmp_path):
    file = tmp_path / "a" / "x.wav"
    file.parent.mkdir()
    file.write_bytes(b"1")
    os.utime(file, ns=(10**18, 10**18))
    first = fingerprint({"data_folder": tmp_path})
    assert fingerprint({"data_folder": str(tmp_path)}) == first
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "y").write_text("hidden files do not count")
    assert fingerprint({"data_folder": tmp_path}) == first
    seen = {first}
    for change in (
        lambda: file.write_bytes(b"22"),
        lambda: os.utime(file, ns=(10**18, 2 * 10**18)),
        lambda: file.rename(file.with_name("z.wav")),
        lambda: (tmp_path / "b.txt").write_text(""),
    ):
        change()
        seen.add(fingerprint({"data_folder": tmp_path}))
    assert len(seen) == 5


def test_a_missing_folder_has_a_fingerprint_too(tmp_path):
    assert fingerprint({"data_folder": tmp_path / "none"}) == fingerprint({})


def test_links_that_lead_nowhere_or_back_do_not_stop_it(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.wav").write_bytes(b"1")
    plain = fingerprint({"data_folder": tmp_path})
    (tmp_path / "a" / "back").symlink_to(tmp_path, target_is_directory=True)
    assert fingerprint({"data_folder": tmp_path}) == plain
    (tmp_path / "gone.wav").symlink_to(tmp_path / "nowhere")
    assert fingerprint({"data_folder": tmp_path}) != plain
