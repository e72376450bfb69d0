"""Shells complete what the command line takes."""

import shutil
import subprocess
import sys

import pytest

from functa_store.cli import main as cli
from functa_store.cli.main import COMMANDS

pytest.importorskip("shtab", reason="shtab is not installed")


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    """The script for bash."""
    code = "import sys\nfrom functa_store.cli import main as cli\nsys.exit(cli.main(['completion', 'bash']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    path = tmp_path_factory.mktemp("completion") / "functa.bash"
    path.write_text(done.stdout)
    return path


def completed(script, *words, folder):
    """What bash offers for the last of some words."""
    line = f"COMP_WORDS=(functa {' '.join(repr(word) for word in words)}); COMP_CWORD={len(words)}; COMP_TYPE=9"
    code = f'source {script}; {line}; _shtab_functa 2>/dev/null; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True, cwd=folder)
    return set(done.stdout.split())


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_commands_kinds_options_and_paths(script, tmp_path):
    (tmp_path / "faces.functa").mkdir()
    assert set(COMMANDS) <= completed(script, "", folder=tmp_path)
    assert completed(script, "inf", folder=tmp_path) == {"info"}
    assert {"images", "climate", "nerf"} <= completed(script, "convert", "", folder=tmp_path)
    assert "--modulation-dim" in completed(script, "convert", "images", "--modul", folder=tmp_path)
    assert "float16" in completed(script, "convert", "images", "--dtype", "fl", folder=tmp_path)
    assert completed(script, "info", "fa", folder=tmp_path) == {"faces.functa"}


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_a_script_with_every_command(shell, capsys):
    assert cli.main(["completion", shell]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in COMMANDS)


def test_another_shell_is_refused(capsys):
    with pytest.raises(SystemExit):
        cli.main(["completion", "cmd"])
    assert "bash" in capsys.readouterr().err


def test_a_command_imports_the_modules_of_no_other():
    code = (
        "import sys\nfrom functa_store.cli import main as cli\n"
        "try: cli.main(['info', 'nothing.functa'])\nexcept SystemExit: pass\n"
        "sys.exit('shtab' in sys.modules or 'functa_store.cli.completion' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
