"""Chat: the exported bundle answers, the base beside the tuned model."""

from __future__ import annotations

from typing import ClassVar, Literal

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Input, Static

from ptune_tui.chats import ChatProcess, open_chat
from ptune_tui.conversation import Answered, ChatFailed, Piece, Ready, Reply
from ptune_tui.tui.bindings import bindings_of
from ptune_tui.tui.screens.place import PlaceScreen
from ptune_tui.tui.widgets.chat_line import ChatLine, ChatTarget
from ptune_tui.tui.widgets.exchange import SPEAKERS, Exchange

NO_BUNDLE = """\
No bundle yet. A bundle is what answers: the frozen model, the soft prompt, the tokenizer.

{setup}  set up a run and start it
{train}  watch it; when it has ended, Enter exports it

Or start with a bundle that is there already:  ptune chat FOLDER"""
ASK = "Write a text below; Enter sends it to the base model and to the tuned one."

MAX_LABELS = 6

State = Literal["no bundle", "opening", "ready", "waiting", "failed"]


class ChatScreen(PlaceScreen):
    """The conversation."""

    PLACE: ClassVar[str] = "chat"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_of("chat")]
    AUTO_FOCUS = ""

    def __init__(self) -> None:
        super().__init__()
        self.state: State = "no bundle"
        self._target: ChatTarget | None = None
        self._process: ChatProcess | None = None
        self._exchange: Exchange | None = None
        self._ready: Ready | None = None

    def compose_body(self) -> ComposeResult:
        """What is open, the exchanges, the input."""
        yield ChatLine()
        yield Static("", id="chat-status", markup=False)
        name = self.ptune.keymap.name
        text = NO_BUNDLE.format(setup=name("app.setup"), train=name("app.train"))
        yield Static(text, id="no-bundle", classes="empty", markup=False)
        with VerticalScroll(id="exchanges", can_focus=False):
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
        bundle, target = session.bundle, self._target
        if bundle is not None and (
            target is None or (target.bundle, target.version) != (bundle, session.num_bundles)
        ):
            target = self.query_one(ChatLine).show(bundle, session.prompt, session.num_bundles)
            self._target = target
            self._talk(target)
        has_bundle = bundle is not None
        self.query_one("#no-bundle").display = not has_bundle
        for name in ("#chat-line", "#chat-status", "#exchanges", "#ask"):
            self.query_one(name).display = has_bundle
        if has_bundle and self.focused is None:
            self.query_one("#ask").focus()

    def on_unmount(self) -> None:
        """End the child with the app."""
        if self._process is not None:
            self._process.kill()

    @on(Input.Submitted, "#ask")
    async def _ask(self, event: Input.Submitted) -> None:
        text = event.value.strip()
        ready = self._ready
        if not text or self.state != "ready" or self._process is None or ready is None:
            return
        event.input.clear()
        self._exchange = Exchange(text, ready.prompt, ready.precision)
        self.query_one("#ask-hint").display = False
        exchanges = self.query_one("#exchanges", VerticalScroll)
        await exchanges.mount(self._exchange)
        exchanges.scroll_end(animate=False)
        self._enter("waiting", "answering... Escape stops")
        await self._process.ask(text, list(SPEAKERS))

    def action_back(self) -> None:
        """Stop the answer that is being written; else go back to the run."""
        if self.state != "waiting" or self._target is None:
            self.ptune.action_show_place("train")
            return
        self._talk(self._target)  # a child that is busy cannot be told; a new one opens fast

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
        """The tuned model's last answer, as far as it is there."""
        return "" if self._exchange is None else self._exchange.tuned_text

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
    async def _talk(self, target: ChatTarget) -> None:
        """Open a bundle and take in what its child says, until it ends."""
        if self._process is not None:
            self._process.kill()
        if self._exchange is not None and self.state == "waiting":
            self._exchange.stop("stopped")
        self._enter("opening", f"opening {target.bundle}...")
        try:
            process = await open_chat(target.bundle, target.prompt, target.precision)
        except OSError as error:
            self._enter("failed", f"✗ {error}")
            return
        self._process = process
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
                    self._exchange.box(reply.speaker).add_piece(reply.text, reply.num_tokens)
                    self._scroll()
            case Answered():
                self._take_answer(reply)
            case ChatFailed():
                self._take_failure(reply)

    def _take_answer(self, reply: Answered) -> None:
        if self._exchange is None:
            return
        self._exchange.box(reply.speaker).finish(reply)
        self._scroll()
        if reply.speaker == SPEAKERS[-1]:
            self._enter_ready()

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

    def _enter(self, state: State, text: str) -> None:
        self.state = state
        self.refresh_bindings()  # there may be an answer to copy
        status = self.query_one("#chat-status", Static)
        status.set_class(state == "failed", "-failed")
        status.update(Content(text))

    def _scroll(self) -> None:
        exchanges = self.query_one("#exchanges", VerticalScroll)
        if exchanges.max_scroll_y - exchanges.scroll_y <= 3:
            exchanges.scroll_end(animate=False)


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
