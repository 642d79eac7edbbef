"""`ptune serve`: a bundle over HTTP, in the shapes of OpenAI's API, without torch."""

from __future__ import annotations

from typing import Annotated

import typer

from ptune_tui.cli.answer import BundleArgument, PrecisionOption, SpinOption, ThreadsOption
from ptune_tui.cli.talk import say
from ptune_tui.errors import UsageError


def serve(
    bundle: BundleArgument,
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0: any that is free.", min=0, max=65535)] = 8000,
    key: Annotated[
        str | None,
        typer.Option(
            envvar="PTUNE_SERVE_KEY",
            help="What clients have to send; other users of this machine see it in the process "
            "list unless it comes from the environment.",
        ),
    ] = None,
    no_key: Annotated[
        bool, typer.Option("--no-key", help="Listen for other machines without a key.")
    ] = False,
    precision: PrecisionOption = None,
    threads: ThreadsOption = 0,
    spin: SpinOption = True,
    queue: Annotated[
        int, typer.Option(help="Requests that may wait; the next one gets 503.", min=0)
    ] = 16,
) -> None:
    """Answer OpenAI's chat and completion requests from a bundle."""
    from export.manifest_file import MANIFEST
    from export.runtime import Bundle
    from ptune_tui.server.access import choose_access
    from ptune_tui.server.answering_thread import AnsweringThread
    from ptune_tui.server.application import make_application
    from ptune_tui.server.endpoints import Endpoints
    from ptune_tui.server.served_model import serve_bundle
    from ptune_tui.server.web_server import WebServer, bind

    if key is not None and no_key:
        raise UsageError(
            "A key (`--key` or PTUNE_SERVE_KEY) and `--no-key` were both given.",
            "Give one of them.",
        )
    with bind(host, port) as listener:
        address, bound_port = listener.getsockname()[:2]
        access = choose_access(host, address, key, is_open=no_key)
        opened = Bundle.open(bundle, precision, threads, spin)
        served = serve_bundle(opened)
        if opened.manifest.model_name in opened.manifest.prompts:
            say("note: a prompt has the base's name; the base alone cannot be asked for.")
        answering = AnsweringThread(queue)
        created = int((bundle / MANIFEST).stat().st_mtime)
        application = make_application(Endpoints(served, answering, created), access, say)
        url = f"http://{f'[{host}]' if ':' in host else host}:{bound_port}/v1"

        def at_start() -> None:
            say(f"Serving {', '.join(served)} ({opened.precision}); Ctrl-C stops.")
            typer.echo(url)

        def at_stop() -> None:
            say(
                "Stopping once the answer in the making is through; interrupt again to end at once."
            )

        WebServer(application, answering, at_start, at_stop).serve_until_stopped(listener)
