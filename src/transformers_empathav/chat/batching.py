"""Replies of several conversations, written in one batch: rows join and leave between two tokens."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch.nn.functional import pad
from transformers import (
    DynamicCache,
    LogitsProcessorList,
    MinNewTokensLengthLogitsProcessor,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    RepetitionPenaltyLogitsProcessor,
    SuppressTokensLogitsProcessor,
    TemperatureLogitsWarper,
    TextIteratorStreamer,
    TopPLogitsWarper,
)

from ..modeling.generation_empathav import CACHE
from ..modeling.prompt_cache_empathav import PromptCache
from ..modeling.roomy_layer_empathav import RoomyLayer
from .model_thread import ModelThread
from .writing import straight


OPTIONS = {
    "max_new_tokens", "min_new_tokens", "do_sample", "temperature", "top_p", "repetition_penalty", "stop",
    "prompt_cache",
}  # fmt: skip
INPUTS = {"input_ids", "attention_mask", "av_embeds", "memory"}


class Row:
    """
    One reply: how its tokens are chosen, where they go, and the KV cache that belongs to its conversation.

    Args:
        model ([`EmpathAVForCausalLM`]): Writes.
        tokenizer (`PreTrainedTokenizerBase`): Its tokenizer.
        prompt (`torch.LongTensor` of shape `(1, length)`): What is answered.
        cache ([`PromptCache`]): Of the conversation.
        seed (`int`, *optional*): Makes a sampled reply the same each time.
        options: Of `OPTIONS`, as in `generate`.
    """

    def __init__(self, model, tokenizer, prompt: torch.LongTensor, cache: PromptCache, seed: int | None, options):
        self.sequence, self.prompt_length = prompt, prompt.shape[1]
        self.cache, self.tokenizer = cache, tokenizer
        self.limit, self.stops = options["max_new_tokens"], options.get("stop") or ()
        self.streamer = TextIteratorStreamer(tokenizer, skip_special_tokens=True)
        self.done, self.error = threading.Event(), None
        self.stopped = self.ended = False
        config = model.generation_config
        ends = config.eos_token_id if config.eos_token_id is not None else []
        self.ends = ends if isinstance(ends, list) else [ends]
        self.processors = processors({**config.to_dict(), **options}, self.prompt_length, self.ends, prompt.device)
        self.generator = None
        if options.get("do_sample"):
            self.generator = torch.Generator(prompt.device)
            self.generator.manual_seed(seed) if seed is not None else self.generator.seed()

    def __len__(self) -> int:
        """Number of its tokens whose keys and values are known: all but the newest."""
        return self.sequence.shape[1] - 1

    @property
    def written(self) -> list[int]:
        return self.sequence[0, self.prompt_length :].tolist()

    def take(self, logits: torch.Tensor):
        """Chooses the next token by its `(vocabulary,)` logits."""
        scores = self.processors(self.sequence, logits[None].float())
        if self.generator is None:
            token = scores.argmax(dim=-1)
        else:
            token = torch.multinomial(scores.softmax(dim=-1), 1, generator=self.generator)[0]
        self.sequence = torch.cat([self.sequence, token[None]], dim=1)
        self.streamer.put(token)
        self.ended = int(token) in self.ends or len(self.written) >= self.limit or self._stops()

    def _stops(self) -> bool:
        """Whether it holds one of the texts that end it."""
        text = self.tokenizer.decode(self.written, skip_special_tokens=True) if self.stops else ""
        return any(stop in text for stop in self.stops)

    def leave(self, layers: Sequence[tuple[torch.Tensor, torch.Tensor]] = ()):
        """The reply is whole: its conversation gets its keys and values back."""
        for layer, (keys, values) in zip(self.cache.cache.layers, layers):
            layer.keys, layer.values = keys.clone(), values.clone()
            if isinstance(layer, RoomyLayer):
                layer.leave_room()  # else what the prompt was read into stays in memory, too
        self.cache.keep(self.sequence[0])
        self.finish()

    def finish(self, error: BaseException | None = None):
        self.error = error
        self.done.set()
        self.streamer.end()


class Batch:
    """
    Writes replies to several conversations at once. A pass for one more token costs little more for many rows than for
    one, since it has to read all weights either way.

    The prompt of each row is read by itself. Then its keys and values take their place in the batch, padded on the
    left, and each pass gives one token to every row. Nothing of a row depends on the others but rounding.

    Args:
        model ([`EmpathAVForCausalLM`]): Writes.
        thread ([`ModelThread`]): In which the model computes.
    """

    def __init__(self, model: PreTrainedModel, thread: ModelThread):
        self.model, self.thread = model, thread
        self.rows: list[Row] = []
        self.joining: list[Row] = []
        self.cache, self.mask = DynamicCache(), None
        self._changed, self._closed = threading.Condition(), False
        self._thread = threading.Thread(target=self._write, daemon=True, name="batch")
        self._thread.start()

    def run(
        self,
        model,
        tokenizer: PreTrainedTokenizerBase,
        ids: list[int],
        seed: int | None,
        arguments: dict,
        watch: Callable | None = None,
    ) -> Iterator[str]:
        r"""
        Pieces of one reply, as [`as_it_comes`] gives them; the ids of the reply go to `ids`.

        Args:
            model, tokenizer, ids, seed, watch: As there.
            arguments (`dict`): Inputs of one row and `OPTIONS`. A text in `stop` ends the reply and is not in it.

        Raises:
            `ValueError`: an option is not among these.
        """
        if unknown := {name for name, value in arguments.items() if value is not None} - OPTIONS - INPUTS:
            raise ValueError(f"{', '.join(sorted(unknown))} cannot be given for replies in one batch: leave it out.")
        row = self.thread(self._begin, tokenizer, seed, arguments, watch or straight)
        if not row.ended:
            with self._changed:
                if self._closed:
                    raise RuntimeError("The batch was closed.")
                self.joining.append(row)
                self._changed.notify()
        try:
            yield from until(row.streamer, row.stops)
        finally:
            row.stopped = True
            row.done.wait()
            ids.extend(row.written)
        if row.error is not None:
            raise RuntimeError("The reply could not be written.") from row.error

    def close(self):
        """Ends the thread; replies that are being written fail."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _begin(self, tokenizer: PreTrainedTokenizerBase, seed: int | None, arguments: dict, watch: Callable) -> Row:
        """A row with the first token of its reply."""
        cache = arguments.get("prompt_cache") or PromptCache()
        row = Row(self.model, tokenizer, arguments["input_ids"], cache, seed, arguments)
        try:
            row.take(self._read(arguments, cache, watch))
        except BaseException:
            cache.forget()
            raise
        if row.ended:
            row.leave()
        return row

    @torch.no_grad()
    def _read(self, inputs: dict, cache: PromptCache, watch: Callable) -> torch.Tensor:
        """Reads the part of a prompt that its cache lacks; `(vocabulary,)` logits of the first token of the reply."""
        ids, memory, config = inputs["input_ids"], inputs.get("memory"), self.model.config
        self.model.model.check_memory(memory)
        embeds = {"av_embeds": inputs.get("av_embeds"), "memory_embeds": None if memory is None else memory.flat()}
        vectors = dict(zip((config.av_token_id, config.memory_token_id), embeds.values()))
        held = cache.reuse(
            ids, vectors, {"generation_config": self.model.generation_config}, self.model.config.text_config
        )
        prepared = self.model.prepare_inputs_for_generation(
            ids, next_sequence_length=ids.shape[1] - cache.reused, use_cache=True, **embeds, **{CACHE: held}
        )
        return watch(self.model, **prepared, logits_to_keep=1).logits[0, -1]

    def _write(self):
        """The thread: one token for each row, again and again."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self.rows or self.joining or self._closed)
                joining, self.joining = self.joining, []
            rows, error = [*self.rows, *joining], RuntimeError("The batch was closed.")
            try:
                if not self._closed:
                    self.thread(self._step, joining)
                    continue
            except BaseException as fault:  # goes to those who wait for the rows
                error = fault
            self.rows = []
            for row in rows:
                if not row.done.is_set():
                    row.finish(error)
            if self._closed:
                return

    @torch.no_grad()
    def _step(self, joining: list[Row]):
        self._seat([row for row in (*self.rows, *joining) if not row.stopped], joining)
        if not self.rows:
            return
        self.mask = pad(self.mask, (0, 1), value=1)
        logits = self.model(
            input_ids=torch.cat([row.sequence[:, -1:] for row in self.rows]),
            attention_mask=self.mask,
            position_ids=self.mask.sum(dim=1, keepdim=True) - 1,
            use_cache=True,
            **{CACHE: self.cache},
        ).logits[:, -1]
        for row, scores in zip(self.rows, logits):
            row.take(scores)
        self._seat([row for row in self.rows if not row.ended])

    def _seat(self, rows: list[Row], joining: Sequence[Row] = ()):
        """Makes `rows` the rows of the batch. Those that leave get their keys and values."""
        if rows == self.rows and not joining:
            return
        held = {id(row): self._held(place, len(row)) for place, row in enumerate(self.rows)}
        held |= {id(row): [(layer.keys, layer.values) for layer in row.cache.cache.layers] for row in joining}
        left = [row for row in (*self.rows, *joining) if row not in rows]
        self.rows, longest = rows, max(map(len, rows), default=0)
        self.cache, self.mask = DynamicCache(), None
        if rows:
            layers = zip(*(held[id(row)] for row in rows))
            self.cache.layers = [RoomyLayer.of(*zip(*parts), longest) for parts in layers]
            device = rows[0].sequence.device
            lengths = torch.tensor([len(row) for row in rows], device=device)
            self.mask = (torch.arange(longest, device=device) >= longest - lengths[:, None]).long()
        for row in left:
            row.leave(held[id(row)])

    def _held(self, place: int, length: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Keys and values of one row, without padding, layer by layer."""
        row = slice(place, place + 1)
        return [(layer.keys[row, :, -length:], layer.values[row, :, -length:]) for layer in self.cache.layers]


def processors(options: dict, prompt_length: int, ends: list[int], device) -> LogitsProcessorList:
    """What `generate` does to the logits under these options, in its order."""
    chosen = LogitsProcessorList()
    if (penalty := options.get("repetition_penalty")) not in (None, 1.0):
        chosen.append(RepetitionPenaltyLogitsProcessor(penalty))
    if (least := options.get("min_new_tokens")) and ends:
        chosen.append(MinNewTokensLengthLogitsProcessor(prompt_length, least, ends, device=device))
    if suppressed := options.get("suppress_tokens"):
        chosen.append(SuppressTokensLogitsProcessor(suppressed, device=device))
    if options.get("do_sample"):
        if (temperature := options.get("temperature")) not in (None, 1.0):
            chosen.append(TemperatureLogitsWarper(temperature))
        if (share := options.get("top_p")) not in (None, 1.0):
            chosen.append(TopPLogitsWarper(share))
    return chosen


def until(pieces: Iterable[str], stops: Sequence[str]) -> Iterator[str]:
    """The pieces up to the first of `stops` in them. What may be the beginning of one is held back."""
    held = ""
    for piece in pieces:
        held += piece
        if found := [place for stop in stops if (place := held.find(stop)) >= 0]:
            yield held[: min(found)]
            return
        sure = len(held) - max((overlap(held, stop) for stop in stops), default=0)
        yield held[:sure]
        held = held[sure:]
    yield held


def overlap(text: str, stop: str) -> int:
    """Number of characters at the end of `text` with which `stop` begins."""
    return next((size for size in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:size])), 0)
