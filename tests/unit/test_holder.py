import subprocess
import sys

from workers import holder


def made_by_a_process_that_ended() -> str:
    program = "from workers import holder; print(holder.token('c'))"
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_token_of_a_living_process_is_not_dead():
    assert not holder.is_dead(holder.token("c"))


def test_token_of_a_process_that_ended_is_dead():
    assert holder.is_dead(made_by_a_process_that_ended())


def test_token_with_a_process_id_used_again_is_dead():
    machine, pid, started, claim = holder.token("c").split("/")
    assert holder.is_dead("/".join((machine, pid, f"{int(started) - 1}", claim)))


def test_token_of_another_machine_is_not_ours_to_judge():
    _, _, started, claim = holder.token("c").split("/")
    assert not holder.is_dead("/".join(("another-machine-1", "999999", started, claim)))
    assert not holder.is_dead("some other token")
