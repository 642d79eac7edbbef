"""Chat: the exported bundle answers, the tuned model and then the base beside it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar, Literal

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Input, Static

from ptune_tui.bundles import read_card
from ptune_tui.chats import open_chat
from ptune_tui.conversation import Answered, ChatFailed, Piece, Ready, Reply, Speaker
from ptune_tui.tui.bindings import bindings_of
from ptune_tui.tui.screens.place import PlaceScreen
from ptune_tui.tui.widgets.chat_line import ChatLine, ChatTarget
from ptune_tui.tui.widgets.exchange import SPEAKERS, Exchange
from ptune_tui.tui.widgets.paging import scroll_pages

NO_BUNDLE = """\
No bundle yet. A bundle is what answers: the frozen model, the soft prompt, the tokenizer.

{setup}  set up a run and start it
{train}  watch it; when it has ended, Enter exports it

{open}  open one that is there already: of a run, or in a folder of yours"""
ASK = "Write a text below; Enter sends it to the tuned model, then to the base."
AGAIN = "Export the run again, or open another bundle."

WORDS: dict[Speaker, str] = {
    "tuned": "the tuned model answers; Escape ends that and goes on to the base",
    "base": "the base answers; Escape ends that",
}
MAX_LABELS = 6
NEAR_THE_END = 3  # lines

State = Literal["no bundle", "opening", "ready", "waiting", "failed"]
NOT_YET: dict[State, str] = {
    "no bundle": "No bundle is open.",
    "opening": "The bundle is still being opened.",
    "ready": "The bundle is still being opened.",
    "waiting": "Still answering; Escape ends that.",
    "failed": "The bundle does not answer; above stands why.",
}


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
        self.state: State = "no bundle"
        self._opened: tuple[Path | None, int] = (None, 0)  # which bundle, and which writing of it
        self._target: ChatTarget | None = None
        self._exchange: Exchange | None = None
        self._ready: Ready | None = None

    def compose_body(self) -> ComposeResult:
        """What is open, the exchanges, the input."""
        yield ChatLine()
        yield Static("", id="chat-status", markup=False)
        name = self.ptune.keymap.name
        text = NO_BUNDLE.format(
            setup=name("app.setup"), train=name("app.train"), open=name("chat.open")
        )
        yield Static(text, id="no-bundle", classes="empty", markup=False)
        with VerticalScroll(id="exchanges"):
            yield Static(ASK, id="ask-hint", markup=False)
        ask = Input(placeholder="Write a text, Enter sends it", id="ask")
        ask.cursor_blink = False
        yield ask

    def show_state(self) -> None:
        """Open the session's bundle where it is another than the one that is open."""
        if not self.query("#chat-precision"):  # the choices are still being made
            self.call_after_refresh(self.refresh_place)
            return
        session = self.ptune.session
        bundle, wanted = session.bundle, (session.bundle, session.num_bundles)
        was_ended = session.chat is None and self.state in ("ready", "waiting")
        if bundle is None and self._opened[0] is not None:
            self._close()
        elif bundle is not None and (wanted != self._opened or was_ended):
            self._opened = wanted
            self._enter_opening(bundle)
            self._open(bundle)
        has_bundle = bundle is not None
        self.query_one("#no-bundle").display = not has_bundle
        for name in ("#chat-line", "#chat-status", "#exchanges", "#ask"):
            self.query_one(name).display = has_bundle
        if has_bundle and self.focused is None:
            self.query_one("#ask").focus()

    async def on_unmount(self) -> None:
        """End the child with the app, before the event loop closes."""
        chat = self.ptune.session.chat
        if chat is not None:
            await chat.end()

    @on(Input.Submitted, "#ask")
    async def _ask(self, event: Input.Submitted) -> None:
        text = event.value.strip()
        ready, process = self._ready, self.ptune.session.chat
        if not text:
            return
        if self.state != "ready" or process is None or ready is None:
            self.notify(f"{NOT_YET[self.state]} The text stays here.", markup=False)
            return
        if await self._is_gone():
            return
        event.input.clear()
        self._exchange = Exchange(text, ready.prompt, ready.precision)
        self.query_one("#ask-hint").display = False
        exchanges = self.query_one("#exchanges", VerticalScroll)
        await exchanges.mount(self._exchange)
        exchanges.scroll_end(animate=False)
        self._enter("waiting", WORDS[SPEAKERS[0]])
        await process.ask(text, list(SPEAKERS))

    async def action_back(self) -> None:
        """End the answer that is being written; else go back to the run."""
        exchange, process = self._exchange, self.ptune.session.chat
        is_waiting = self.state == "waiting" and exchange is not None
        speaker = exchange.next_to_end() if is_waiting and exchange else None
        if exchange is None or process is None or speaker is None:
            self.ptune.action_show_place("train")
            return
        exchange.box(speaker).end()
        await process.end_answer(speaker)

    def action_page(self, pages: int) -> None:
        """Scroll the answers while one writes."""
        scroll_pages(self.query_one("#exchanges", VerticalScroll), pages)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """None shows a key as disabled."""
        line = self.query(ChatLine)
        allowed = {
            "next_prompt": bool(line) and len(line.first().prompts) > 1,
            "next_precision": bool(line) and len(line.first().precisions) > 1,
            "copy": self._answer() != "",
        }
        return None if allowed.get(action) is False else super().check_action(action, parameters)

    def action_copy(self) -> None:
        """Copy the last answer of the tuned model."""
        answer = self._answer()
        if answer:
            self.ptune.copy_text(answer, "the tuned answer")

    def _answer(self) -> str:
        """The tuned model's last answer that is there, be it of an earlier question."""
        said = (exchange.tuned_text for exchange in reversed(self.query(Exchange)))
        return next((text for text in said if text), "")

    def action_open(self) -> None:
        """Choose another bundle."""
        from ptune_tui.tui.screens.bundle_list import BundlesScreen  # not before it is needed

        self.ptune.push_screen(BundlesScreen(self._take_bundle))

    def _take_bundle(self, folder: str) -> None:
        self.ptune.session.open_bundle(Path(folder))
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
        self._target = event.target
        self._talk(event.target)
        self.query_one("#ask").focus()

    @work(exclusive=True, group="chat")
    async def _open(self, bundle: Path) -> None:
        """Offer what a bundle has, and talk to it."""
        session = self.ptune.session
        card = await asyncio.to_thread(read_card, bundle)
        line = self.query_one(ChatLine)
        self._target = line.show(bundle, card, session.prompt, session.num_bundles)
        await self._converse(self._target)

    async def _is_gone(self) -> bool:
        """Whether the bundle was deleted behind the child's back, which then ends, too."""
        bundle = self._target.bundle if self._target else None
        if bundle is None or await asyncio.to_thread(bundle.is_dir):
            return False
        self.ptune.session.end_chat()
        self._enter("failed", f"✗ The bundle {bundle} was deleted or moved. {AGAIN}")
        return True

    def _close(self) -> None:
        """Forget a bundle that was deleted, and what was said with it."""
        self.ptune.session.end_chat()
        self.workers.cancel_group(self, "chat")
        self._opened = (None, 0)
        self._target = self._ready = self._exchange = None
        self.query(Exchange).remove()
        self.query_one("#ask-hint").display = True
        self._enter("no bundle", "")

    @work(exclusive=True, group="chat")
    async def _talk(self, target: ChatTarget) -> None:
        """The same with a prompt and a precision that were chosen."""
        await self._converse(target)

    async def _converse(self, target: ChatTarget) -> None:
        """Start a child and take in what it says, until it ends."""
        self.ptune.session.end_chat()
        self._enter_opening(target.bundle)
        try:
            process = await open_chat(target.bundle, target.prompt, target.precision)
        except OSError as error:
            self._enter("failed", f"✗ {error}")
            return
        self.ptune.session.chat = process
        try:
            async for reply in process.replies():
                self._take(reply)
        finally:
            process.kill()

    def _take(self, reply: Reply) -> None:
        match reply:
            case Ready():
                self._ready = reply
                self._enter_ready()
                self._suggest()
            case Piece():
                if self._exchange is not None:
                    self._follow()
                    had_answer = self._answer() != ""
                    self._exchange.box(reply.speaker).add_piece(reply.text, reply.num_tokens)
                    if not had_answer:
                        self.refresh_bindings()  # now there is something to copy
            case Answered():
                self._take_answer(reply)
            case ChatFailed():
                self._take_failure(reply)

    def _take_answer(self, reply: Answered) -> None:
        if self._exchange is None:
            return
        self._follow()
        self._exchange.box(reply.speaker).finish(reply)
        if reply.speaker == SPEAKERS[-1]:
            self._enter_ready()
        else:
            self._enter("waiting", WORDS[SPEAKERS[SPEAKERS.index(reply.speaker) + 1]])

    def _take_failure(self, reply: ChatFailed) -> None:
        if self._exchange is not None and self.state == "waiting":
            self._exchange.stop("failed")
            ask = self.query_one("#ask", Input)
            ask.value = ask.value or self._exchange.question  # so that it can be sent again
        text = f"✗ {reply.message} {reply.hint}".rstrip()
        if reply.number is None:
            self._enter("failed", text)
            return
        self._enter_ready()
        self.notify(text, severity="error", markup=False)

    def _suggest(self) -> None:
        """Write an example to send, where nothing was asked yet."""
        ask = self.query_one("#ask", Input)
        if self._exchange is None and not ask.value:
            ask.value = self.ptune.session.example

    def _enter_ready(self) -> None:
        assert self._ready is not None
        self._enter("ready", ready_text(self._ready))

    def _enter_opening(self, bundle: Path) -> None:
        if self._exchange is not None and self.state == "waiting":
            self._exchange.stop("stopped")
        self._enter("opening", f"opening {bundle}...")

    def _enter(self, state: State, text: str) -> None:
        self.state = state
        self.refresh_bindings()  # there may be an answer to copy
        status = self.query_one("#chat-status", Static)
        status.set_class(state == "failed", "-failed")
        status.update(Content(text))

    def _follow(self) -> None:
        """Scroll along with what is written next, until the question stands on top.

        Whoever has scrolled elsewhere stays there.
        """
        exchanges = self.query_one("#exchanges", VerticalScroll)
        if exchanges.max_scroll_y - exchanges.scroll_y <= NEAR_THE_END:
            self.call_after_refresh(self._scroll_along)

    def _scroll_along(self) -> None:
        exchanges = self.query_one("#exchanges", VerticalScroll)
        if self._exchange is not None:
            top = self._exchange.virtual_region.y - exchanges.styles.padding.top
            exchanges.scroll_to(y=max(exchanges.scroll_y, top), animate=False)


def ready_text(ready: Ready) -> str:
    """What is open, in one line.

    Args:
        ready (Ready): The child's first word.
    """
    parts = [ready.model, f"{ready.num_virtual_tokens} virtual tokens"]
    if ready.labels:
        more = (
            f" and {len(ready.labels) - MAX_LABELS} more" if len(ready.labels) > MAX_LABELS else ""
        )
        parts.append(f"answers: {', '.join(ready.labels[:MAX_LABELS])}{more}")
    return " · ".join(parts)
