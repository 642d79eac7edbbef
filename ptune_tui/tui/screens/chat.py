"""Chat: the exported bundle answers, the tuned model and then the base beside it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input

from ptune_tui.bundles import read_card
from ptune_tui.chats import open_chat
from ptune_tui.conversation import Answered, ChatFailed, Piece, Ready, Reply
from ptune_tui.tui.bindings import bindings_of
from ptune_tui.tui.screens.place import PlaceScreen
from ptune_tui.tui.widgets.chat_line import ChatLine, ChatTarget
from ptune_tui.tui.widgets.chat_status import ChatStatus, State
from ptune_tui.tui.widgets.exchange import SPEAKERS
from ptune_tui.tui.widgets.exchanges import Exchanges
from ptune_tui.tui.widgets.no_bundle import NoBundle
from ptune_tui.tui.widgets.paging import scroll_pages

AGAIN = "Export the run again, or open another bundle."


class ChatScreen(PlaceScreen):
    """The conversation."""

    PLACE: ClassVar[str] = "chat"
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings_of("chat"),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
    ]
    AUTO_FOCUS = ""

    def __init__(self) -> None:
        super().__init__()
        self.status = ChatStatus()
        self.exchanges = Exchanges()
        self._opened: tuple[Path | None, int] = (None, 0)  # which bundle, and which writing of it
        self._target: ChatTarget | None = None
        self._ready: Ready | None = None

    def compose_body(self) -> ComposeResult:
        """What is open, the exchanges, the input."""
        yield ChatLine()
        yield self.status
        yield NoBundle()
        yield self.exchanges
        ask = Input(placeholder="Write a text, Enter sends it", id="ask")
        ask.cursor_blink = False
        yield ask

    @property
    def state(self) -> State:
        """How the chat stands."""
        return self.status.state

    def show_state(self) -> None:
        """Open the session's bundle where it is another than the one that is open."""
        if not self.query("#chat-precision"):  # the choices are still being made
            self.call_after_refresh(self.refresh_place)
            return
        talk = self.ptune.session.talk
        bundle, wanted = talk.bundle, talk.opened
        was_ended = talk.child is None and self.state in ("ready", "waiting")
        if bundle is None and self.state != "no bundle":
            self._close()
        elif bundle is not None and (wanted != self._opened or was_ended):
            self._opened = wanted
            self._show_opening(bundle)
            self._open(bundle)
        has_bundle = bundle is not None
        no_bundle = self.query_one(NoBundle)
        no_bundle.display = not has_bundle
        no_bundle.show(self.ptune.session, self.ptune.keymap)
        for name in ("#chat-line", "#chat-status", "#exchanges", "#ask"):
            self.query_one(name).display = has_bundle
        if has_bundle and self.focused is None:
            self.query_one("#ask").focus()

    async def on_unmount(self) -> None:
        """End the child with the app, before the event loop closes."""
        child = self.ptune.session.talk.child
        if child is not None:
            await child.end()

    @on(Input.Submitted, "#ask")
    async def _ask(self, event: Input.Submitted) -> None:
        text = event.value.strip()
        ready, child = self._ready, self.ptune.session.talk.child
        if not text:
            return
        if self.state != "ready" or child is None or ready is None:
            self.notify(f"{self.status.not_yet} The text stays here.", markup=False)
            return
        if await self._is_gone():
            return
        if event.input.value == event.value:  # else more was written meanwhile
            event.input.clear()
        await self.exchanges.begin(text, ready)
        self.status.show_waiting(SPEAKERS[0])
        await child.ask(text, list(SPEAKERS))

    async def action_back(self) -> None:
        """End the answer that is being written; else go back to the run."""
        exchange, child = self.exchanges.last, self.ptune.session.talk.child
        is_waiting = self.state == "waiting" and exchange is not None
        speaker = exchange.next_to_end() if is_waiting and exchange else None
        if exchange is None or child is None or speaker is None:
            self.ptune.action_show_place("train")
            return
        exchange.box(speaker).end()
        await child.end_answer(speaker)

    def action_page(self, pages: int) -> None:
        """Scroll the answers while one writes."""
        scroll_pages(self.exchanges, pages)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """None shows a key as disabled."""
        line = self.query(ChatLine)
        allowed = {
            "next_prompt": bool(line) and len(line.first().prompts) > 1,
            "next_precision": bool(line) and len(line.first().precisions) > 1,
            "copy": self.exchanges.answer != "",
        }
        return None if allowed.get(action) is False else super().check_action(action, parameters)

    def action_copy(self) -> None:
        """Copy the last answer of the tuned model."""
        answer = self.exchanges.answer
        if answer:
            self.ptune.copy_text(answer, "the tuned answer")

    def action_open(self) -> None:
        """Choose another bundle."""
        from ptune_tui.tui.screens.bundle_list import BundlesScreen  # not before it is needed

        self.ptune.push_screen(BundlesScreen(self._take_bundle))

    def _take_bundle(self, folder: str) -> None:
        self.ptune.session.talk.open(Path(folder))
        self.ptune.refresh_place()

    def action_next_prompt(self) -> None:
        """Answer with the next prompt."""
        self.query_one(ChatLine).choose_next("prompt")

    def action_next_precision(self) -> None:
        """Answer in the next precision."""
        self.query_one(ChatLine).choose_next("precision")

    @on(ChatLine.Chosen)
    def _chosen(self, event: ChatLine.Chosen) -> None:
        """Open the bundle with another prompt or in another precision."""
        if (event.target.bundle, event.target.version) != self._opened:
            return  # another bundle is being opened, and the choices are still the old one's
        self._target = event.target
        self._talk(event.target)
        self.query_one("#ask").focus()

    @work(exclusive=True, group="chat")
    async def _open(self, bundle: Path) -> None:
        """Offer what a bundle has, and talk to it."""
        talk = self.ptune.session.talk
        card = await asyncio.to_thread(read_card, bundle)
        line = self.query_one(ChatLine)
        self._target = line.show(bundle, card, talk.prompt, talk.num_written)
        await self._converse(self._target)

    async def _is_gone(self) -> bool:
        """Whether the bundle was deleted behind the child's back, which then ends, too."""
        bundle = self._target.bundle if self._target else None
        if bundle is None or await asyncio.to_thread(bundle.is_dir):
            return False
        self.ptune.session.talk.end()
        self.status.show_failed(f"The bundle {bundle} was deleted or moved. {AGAIN}")
        return True

    def _close(self) -> None:
        """Forget a bundle that was deleted, and what was said with it."""
        self.ptune.session.talk.end()
        self.workers.cancel_group(self, "chat")
        self._opened = (None, 0)
        self._target = self._ready = None
        self.exchanges.clear()
        self.status.show_none()

    @work(exclusive=True, group="chat")
    async def _talk(self, target: ChatTarget) -> None:
        """The same with a prompt and a precision that were chosen."""
        await self._converse(target)

    async def _converse(self, target: ChatTarget) -> None:
        """Start a child and take in what it says, until it ends."""
        self.ptune.session.talk.end()
        self._show_opening(target.bundle)
        try:
            child = await open_chat(target.bundle, target.prompt, target.precision)
        except OSError as error:
            self.status.show_failed(str(error))
            return
        self.ptune.session.talk.child = child
        try:
            async for reply in child.replies():
                self._take(reply)
            if self.state == "opening":  # ended from elsewhere, before it was there
                self._opened = (None, 0)
        finally:
            child.kill()

    def _take(self, reply: Reply) -> None:
        match reply:
            case Ready():
                self._ready = reply
                self.status.show_ready(reply)
                self._suggest()
            case Piece():
                if self.exchanges.last is not None:
                    had_answer = self.exchanges.answer != ""
                    self.exchanges.add_piece(reply)
                    if not had_answer:
                        self.refresh_bindings()  # now there is something to copy
            case Answered():
                self._take_answer(reply)
            case ChatFailed():
                self._take_failure(reply)

    def _take_answer(self, reply: Answered) -> None:
        if self.exchanges.last is None:
            return
        self.exchanges.finish(reply)
        if reply.speaker == SPEAKERS[-1]:
            self._show_ready()
        else:
            self.status.show_waiting(SPEAKERS[SPEAKERS.index(reply.speaker) + 1])

    def _take_failure(self, reply: ChatFailed) -> None:
        exchange = self.exchanges.last
        if exchange is not None and self.state == "waiting":
            exchange.stop("failed")
            ask = self.query_one("#ask", Input)
            ask.value = ask.value or exchange.question  # so that it can be sent again
        why = f"{reply.message} {reply.hint}".rstrip()
        if reply.number is None:
            self.status.show_failed(why)
            return
        self._show_ready()
        self.notify(f"✗ {why}", severity="error", markup=False)

    def _suggest(self) -> None:
        """Write an example to send, where nothing was asked yet."""
        ask = self.query_one("#ask", Input)
        if self.exchanges.last is None and not ask.value:
            ask.value = self.ptune.session.example
            ask.select_all()  # so that the first letter of another text replaces it

    def _show_ready(self) -> None:
        assert self._ready is not None
        self.status.show_ready(self._ready)

    def _show_opening(self, bundle: Path) -> None:
        if self.exchanges.last is not None and self.state == "waiting":
            self.exchanges.last.stop("stopped")
        self.status.show_opening(bundle)
