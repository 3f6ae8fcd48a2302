"""The text of a program, traced in a process of its own: what was traced before leaves no mark on it."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.connection import Connection

from stages.collect.programs.registry import PROGRAMS
from stages.collect.tpu.libtpu import CompileError

#: seconds; the largest programs take half a minute on an idle core
TIMEOUT_S = 900


def module_text(identifier: str) -> str:
    """HLO text of a program of the zoo, as JAX makes it for a TPU.

    Args:
        identifier: The program's id.

    Raises:
        CompileError: The program cannot be traced.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["stages.collect.programs.preload"])  # the libraries take eight seconds to load
    return in_process(context, of_zoo, identifier)


def in_process(context: multiprocessing.context.BaseContext, make: Callable[..., str], *arguments: object) -> str:
    """Calls a function that makes a text, in a process that ends with it.

    Args:
        context: How the process is started.
        make: Importable there.
        arguments: Its own.

    Raises:
        CompileError: The function raised an exception; the message is its class and text, in a line.
    """
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(sender, make, *arguments), daemon=True)
    process.start()
    sender.close()
    try:
        answer = receiver.recv_bytes().decode() if receiver.poll(TIMEOUT_S) else f"!no answer in {TIMEOUT_S} s"
    except EOFError:
        answer = "!the tracing process ended without a word"
    finally:
        process.kill()
        process.join()
        receiver.close()
    if answer.startswith("!"):
        raise CompileError(answer[1:])
    return answer


def _answer(pipe: Connection, make: Callable[..., str], *arguments: object) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the libraries' warnings of a machine without accelerators
    from stages.collect.tpu import libtpu

    libtpu.set_environment()
    try:
        text = make(*arguments)
    except Exception as fault:  # whatever a library raises is the program's fault
        text = "!" + " ".join(f"{type(fault).__name__}: {fault}".split())[:300]
    pipe.send_bytes(text.encode())


def of_zoo(identifier: str) -> str:
    """HLO text of a program of the zoo, traced in this process."""
    from stages.collect.programs import before_layout

    return before_layout.module_text(PROGRAMS[identifier])
