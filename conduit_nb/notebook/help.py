"""What `%conduit help` says.

Layer 7.
"""

from __future__ import annotations

import textwrap

from conduit_nb.errors import ArgumentError
from conduit_nb.plans.options import (
    DEPLOY_OPTIONS,
    GPU_OPTION,
    JSON_OPTION,
    LIMIT_OPTION,
    OFFERINGS_OPTIONS,
    PLAN_OPTIONS,
    WHY_OPTION,
    option_lines,
)
from conduit_nb.spelling import nearest

OVERVIEW = """\
Conduit turns rows into typed records with a language model.

  %%conduit schema   define dataclasses and see them as the model will
  %%conduit block    make a typed function out of an instruction
  %%conduit map      fill a dataclass for every row of a DataFrame
  %%conduit pipeline chain blocks, have the chain checked and see it drawn

  %conduit ps        what runs            %conduit logs [NAME]      its last log lines
  %conduit models    loaded models        %conduit stop [NAME|all]  end it
  %conduit plan ID   what a model needs   %conduit offerings        what can hold it, and its price
  %conduit deploy ID have it running      %conduit terminate NAME   end it for good (also: all)
  %conduit cost      what it costs        %conduit extend NAME      let it live longer
  %conduit doctor    what works here      %conduit start, restart   after stop; its programs anew
  %conduit debug     all of an error, or the rows of a map that failed, with what the model said
  %conduit adopt     another's node       %conduit gc               end what nobody wants
  %conduit image     build or push the image that containers run
  %conduit panel     deploy, watch, try and end by hand, alive on the screen
  %conduit receipts  what maps were and cost, also out of a notebook's file
  %conduit help [WORD]                    this, or more about one of these words

A first cell, for a DataFrame `reviews` with a column `text`:

  %%conduit map reviews -o verdicts
  class Verdict:
      '''Say how the reviewer feels about the product.'''
      sentiment: Literal["positive", "negative"]

A variable may stand for a whole argument: %conduit plan {model_id}
The same in Python: conduit_nb.LMLiteBlock, conduit_nb.ps(), conduit_nb.stop()."""

SCHEMA = """\
%%conduit schema

The cell's dataclasses become schemas and are shown in MDL, the form in which a model reads them.

  %%conduit schema
  class Item:
      name: str
      quantity: Annotated[int, Range(ge=1, le=99)]

  class Order:
      '''Take the order out of the letter.'''
      items: List[Item]
      urgent: bool = False

- The decorator @dataclass may be left out.
- No import is needed for:
{provided}.
  What you have defined yourself under such a name wins.
- A class's docstring is the instruction when a model fills it.
- Types: str int float bool bytes date datetime, List, Dict[str, ...], Optional, Union, Literal,
  Enum, Annotated with a constraint or a description, and other dataclasses."""

BLOCK = """\
%%conduit block NAME --input In --output Out [options]

The cell's text is the instruction; NAME becomes a function from In to Out.

  %%conduit block judge --input Review --output Verdict
  Say how the reviewer feels about the product.

  judge(Review(text="It broke on day two."))     one record
  judge.batch([Review(...), Review(...)])        many at once; errors stand in their places

{model_options}"""

PIPELINE = """\
%%conduit pipeline NAME

The cell is Python and ends with a chain of blocks; NAME becomes a block from the first one's input
to the last one's output. The chain is checked at once, and drawn with the schema on every edge.

  %%conduit pipeline file_away
  save = FileSystemWriteBlock(Report, "report.txt", trusted=True)
  extract >> report >> save

  file_away(Letter(text="..."))                  one record
  file_away.batch([Letter(...), Letter(...)])    many at once; errors stand in their places

- Blocks: what %%conduit block made, LMLiteBlock(...).task(In, Out), classes of your own that derive
  from conduit_nb.Block, and these, which need no import:
  FileSystemReadBlock, FileSystemWriteBlock, HttpGetBlock, HttpPostBlock, Sqlite3Block,
  SystemCommandBlock.
- Two neighbours that do not fit are an error at their line.
- A block with effects needs trusted=True: in a pipeline, records may come from a model."""

MAP = """\
%%conduit map ROWS [-o OUT] [options]

Fills a dataclass for every row. ROWS is an expression, `reviews.head(20)`: a DataFrame, a Series,
or a list of texts, of dicts or of dataclass records.

  %%conduit map reviews -o verdicts --columns text
  class Verdict:
      '''Say how the reviewer feels about the product.'''
      sentiment: Literal["positive", "negative"]
      mentions_price: bool

- One dataclass in the cell: the output. The input is made from the columns; where a column lacks
  values, the model is told null. In an input of your own, `text: str` makes such rows errors.
- Two: the input, whose fields are columns, then the output. A dataclass that another one uses as a
  field's type is part of that one and does not count.
- The output's docstring is the instruction. The rows are copied when the map starts.
- OUT has the rows' columns and index, the output's columns, `error` and `error_code`. Rows that
  failed have no values; conduit_nb.errors(OUT) has their error objects. Literal and Enum are
  categories (of their values), nested records dicts: Parquet, SQL and JSON take OUT as it is.
- Only classes stand in the cell. Stop (interrupt the kernel): OUT keeps what is finished.

  -o, --out OUT        the variable for the result; left out, it is the name of ROWS with `_out`
  --columns a,b        which columns the model sees; `text="Review Text"` gives a column a field's
                       name, which names that Python does not allow need
  --input In           use these dataclasses, defined in a cell above, instead of (or beside)
  --output Out         those of the cell
  --prefix p_          put before the name of each new column, `error` included
  --limit N            take the first N rows only
  --max-errors N       raise when more than N rows failed (else, when all did); OUT is bound
  --dry-run            say what it will take (rows, tokens, seconds, dollars), and stop there
  --background         return at once with a handle that shows how far it is; the next cell finds
                       it in `_`: `await _`, `_.result()`, `_.cancel()`. OUT is bound when it ends

{model_options}"""

MODEL_OPTIONS = """\
Which model, and where:
  --model ID, --revision R  id or id@R, or a folder; by default {default_model}
  --runtime NAME       what serves it: lmlite, vllm, tensorrt, custom; the default is lmlite
  --provider NAME      where it runs; the default, local, is this machine
  --gpu NAME, --gpu-count N, --tensor-parallel N, --replicas N|N-N, --image NAME
                       on what, and how often (the least and the most), where it is not local
  --max-usd X          the most that this may spend; see %conduit help deploy
  --max-usd-per-hour X, --regions a,b, --providers a,b, --min-availability LEVEL, --enterprise,
  --single-device, --interruptible, --no-interruptible
                       what is accepted of the compute; see %conduit help offerings
  --endpoint URL       any OpenAI-compatible server instead, e.g. http://127.0.0.1:11434/v1
  --api-key-env NAME   the environment variable that holds that server's key
  --max-model-len N    the most tokens, prompt and answer together
  --max-tokens N       the most tokens of one answer; the default is what the context leaves
  --on-length keep     take an answer that the token limit cut, closed to a whole record, instead of
                       making it an error (which has it as `error.partial`); a map gets a column
                       `truncated`, and a block tells by NAME.detailed(record)
  --confidence         how sure the model is of each bool, Literal and Enum, from 0 to 1, for
                       sorting: in a map a column FIELD_confidence each (in lists the lowest:
                       LIST[].FIELD_confidence), of a block NAME.detailed(record).confidence
  --max-concurrency N  the most requests at once
  --temperature T      0, the default, always takes the likeliest word
  --examples PAIRS     a list of (input, output) that shows the model what is meant; each side is a
                       record, a dict, a row, or the text of the one text field; or a DataFrame with
                       the columns of both: two often work wonders
  --seed N             makes answers at a temperature above 0 come out the same again"""

PS = """\
%conduit ps [--all]

A table of what Conduit has started and what still runs, and the nodes of other installations in the
same accounts, which `adopt` takes over. Where nothing was ever deployed from here, providers are
asked for those with --all only. In Python: conduit_nb.ps(), conduit_nb.ps(all_nodes=True)."""

MODELS = """\
%conduit models

The models that the local server has loaded, and what they are busy with. A model is loaded at the
first request for it. `memory gib` is what is set aside for it there: its weights, and room for as
many requests at once as fit; what it needs at least says %conduit plan ID --runtime lmlite. A model
that could not be loaded is listed for some minutes. In Python: conduit_nb.list_models()."""

LOGS = """\
%conduit logs [NAME] [--tail N]

The last lines (100) of a server's log; without NAME, of the local one.
In Python: conduit_nb.logs()."""

STOP = """\
%conduit stop [NAME|all]

Ends a server and frees its memory; without NAME, the local one. The next request starts it again.
It also ends by itself after a while without requests (CONDUIT_SIDECAR_IDLE_S). A deployment that is
stopped keeps its place and may go on to cost (a disk does); `all` ends everything for good.
In Python: conduit_nb.stop()."""

DEPLOY = f"""\
%conduit deploy ID ... [options]

Has models running: what is there already for the same request, else what is started now on the
best offering of the provider. Blocks and cells with the same models, options and provider use it.

  %conduit deploy Qwen/Qwen3-8B --runtime vllm --provider runpod --gpu L40S --max-usd 3 --hours 2

{option_lines(DEPLOY_OPTIONS)}

Nothing starts that could cost more than the caps allow: CONDUIT_MAX_USD_PER_DEPLOYMENT (or
--max-usd), CONDUIT_MAX_USD_PER_DAY. Every node ends by itself at its lease, when its money is
spent, and after a while without a request. In Python: conduit_nb.deploy(); in a shell the same."""

NODE_WORDS = """\
%conduit start NAME        start what was stopped, with a new lease
%conduit restart NAME      start its programs anew
%conduit terminate NAME    end it for good; `all` for everything
%conduit extend NAME --hours H
                           let it live H hours from now on (1), as far as its money lasts

%conduit adopt NODE        take over a node that ps shows as another's: its money counts from now on
%conduit gc [--force]      end every node of yours that no deployment wants; --force also those
                           that another state (CONDUIT_DB_URI) may use

%conduit ps shows the names. In Python and in a shell the same words."""

COST = """\
%conduit cost

What each deployment costs per hour, has cost, and may cost; the last line is the sum, and what
today (in UTC) has cost of CONDUIT_MAX_USD_PER_DAY. In Python: conduit_nb.cost()."""

DEBUG = """\
%conduit debug [ERROR|OUT] [--limit N]

All there is about an error: where it came from, its fields, the model's text, and what caused it.
Without a word, the last error; else an expression.

  %conduit debug                       the last error
  %conduit debug verdicts              the rows that failed, those that failed alike in one line
  %conduit debug verdicts.error[3]     one of them, whole"""

DOCTOR = """\
%conduit doctor

What works on this machine, and what to do for the rest. In Python: conduit_nb.doctor()."""

PLAN = f"""\
%conduit plan ID_OR_FOLDER ... [options]

What models need of each device's memory: weights, KV cache, activations, and what the runtime
takes, each with its formula and source. Several models are planned together. A folder may hold
nothing but a config.json; of a model on the hub only headers are read.

  %conduit plan Qwen/Qwen2.5-7B-Instruct --gpu L40S --max-model-len 8192 --concurrency 16

{option_lines((GPU_OPTION, *PLAN_OPTIONS, JSON_OPTION))}

Without --gpu the plan is held against this machine. That it does not fit is no error: the answer
says what would. In Python: conduit_nb.plan(). In a shell: conduit plan, with the same words."""

OFFERINGS = f"""\
%conduit offerings [options]

What compute this machine and providers offer, all asked at once; who does not answer is named.
With --for, what holds the model is ranked, with an estimate of its speed and the range of that.

  %conduit offerings --for Qwen/Qwen2.5-7B-Instruct --max-model-len 8192 --max-usd-per-hour 2

{option_lines((*OFFERINGS_OPTIONS, WHY_OPTION, LIMIT_OPTION, JSON_OPTION))}

  --static                  a table that stays as it is; in notebooks it asks again by itself

and the options of %conduit plan, for the model that --for names. "price only" marks what nothing
here can start. The result has .best, .ranked, .failures, and .why(), a DataFrame of every reason.
In Python: conduit_nb.find_offerings(). In a shell: conduit offerings, with the same words."""

IMAGE = """\
%conduit image build [--cuda] [--tag NAME] [--base IMAGE] [--torch-index URL]
%conduit image push NAME

LmLite's image for Docker and Runpod, made of this very package; every step is told. --cuda is for
NVIDIA GPUs. It is used once CONDUIT_LMLITE_IMAGE names it. In a shell: conduit image, the same."""

PANEL = """\
%conduit panel [ID_OR_FOLDER]

A panel of everything that runs: its state, log, endpoint, cost so far, and when it ends by itself;
with buttons to extend, stop and terminate it, and a box to try it. Name a model to see what holds
it, pick an offering, and deploy on it. It goes on while cells run, and says so when its kernel is
gone.

  %conduit panel HuggingFaceTB/SmolLM2-135M-Instruct"""

RECEIPTS = """\
%conduit receipts                  what the last maps were and cost: model, tokens, seconds, dollars
%conduit receipts NOTEBOOK.ipynb   the same out of a notebook's file, in the order of its cells

Each map leaves its receipt under its line, and in the saved notebook."""

TOPICS = {
    "schema": SCHEMA,
    "block": BLOCK,
    "map": MAP,
    "pipeline": PIPELINE,
    "ps": PS,
    "models": MODELS,
    "logs": LOGS,
    "stop": STOP,
    "plan": PLAN,
    "offerings": OFFERINGS,
    "deploy": DEPLOY,
    "start": NODE_WORDS,
    "restart": NODE_WORDS,
    "terminate": NODE_WORDS,
    "extend": NODE_WORDS,
    "adopt": NODE_WORDS,
    "gc": NODE_WORDS,
    "cost": COST,
    "debug": DEBUG,
    "doctor": DOCTOR,
    "image": IMAGE,
    "panel": PANEL,
    "receipts": RECEIPTS,
}


def help_text(word: str | None, *, provided: list[str], default_model: str) -> str:
    """Return the help on one word, or the overview."""
    if word is None or word == "help":
        return OVERVIEW
    if word not in TOPICS:
        raise ArgumentError(
            f"There is no help on {word!r}.",
            param="word",
            hint=nearest(word, list(TOPICS)) or f"There is on: {', '.join(TOPICS)}.",
        )
    return (
        TOPICS[word]
        .replace("{provided}", _indented(", ".join(provided)))
        .replace("{model_options}", MODEL_OPTIONS)
        .replace("{default_model}", default_model)
    )


def _indented(text: str) -> str:
    return textwrap.fill(text, 96, initial_indent="  ", subsequent_indent="  ")
