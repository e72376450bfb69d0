"""`functa convert`."""

import argparse
import contextlib
import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from functa_store.cli.arguments import (
    ARCHIVE_HELP,
    add_engine_arguments,
    add_hosts_arguments,
    add_options,
    add_storage_arguments,
    engine_from,
    hosts_from,
    storage_from,
    typed_config,
    typed_options,
)
from functa_store.cli.console import (
    duration,
    for_messages,
    for_results,
    json_lines,
    print_json,
    shown_on,
)
from functa_store.cli.info import show as show_info
from functa_store.config import ConvertConfig, overlaid
from functa_store.decode.facts import info
from functa_store.errors import ConfigError
from functa_store.plugins import Converter, Preset, chosen_preset, converters
from functa_store.progress import Event, Report, silent
from functa_store.sources.options import ArchiveOptions, SurveyOptions, overlaid_options
from functa_store.store.writing.destination import check_output
from functa_store.support.atomic_output import check_folder, check_replaceable
from functa_store.support.interrupts import keep_output_for_results, stopping_between_events
from functa_store.support.printable import printable

if TYPE_CHECKING:
    from functa_store.sources.source import Source


SHOWN_EXAMPLES = 16
"""Of a sheet."""

CHECKED_BY_DRY_RUN = 16
"""Members that a dry run reads to see whether the archive is what it should be."""

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add a sub-command per kind of archive, which imports every installed converter."""
    kinds = parser.add_subparsers(metavar="KIND", dest="kind", required=True)
    for kind, converter in converters().items():
        try:
            _add_kind(kinds, kind, converter)
        except Exception as error:  # a plugin must not take the others with it
            logger.warning("converter %s is left out: its options fail (%s: %s)", kind, type(error).__name__, error)


def _add_kind(kinds: Any, kind: str, converter: Converter) -> None:
    _add_arguments(argparse.ArgumentParser(), converter)  # fails here, and not half-way through, if options clash
    parser = kinds.add_parser(kind, help=converter.summary.replace("%", "%%"), description=converter.summary)
    _add_arguments(parser, converter)
    parser.set_defaults(
        run=run,
        converter=converter,
        when_interrupted="interrupted; run the same command again to go on from here",
    )


def _add_arguments(parser: argparse.ArgumentParser, converter: Converter) -> None:
    parser.add_argument("archive", metavar="ARCHIVE", help=ARCHIVE_HELP)
    parser.add_argument("out", metavar="OUT", help="the functaset: a path, s3:// or gs://, ending in .functa")
    names = list(converter.presets)
    usual = f"(default: that of --config, or {names[0]}; see functa presets)"
    parser.add_argument("--preset", choices=names, help=usual.replace("%", "%%"))
    parser.add_argument("--config", metavar="FILE", help="choices in a YAML or TOML file; see functa presets --write")
    add_options(parser, converter)
    parser.add_argument("--fit-batch", type=int, metavar="N", help="examples per call of the fit")
    parser.add_argument(
        "--snapshot-every", type=float, metavar="SECONDS", help="learning that a crash may cost (default: 60)"
    )
    parser.add_argument(
        "--limit", type=int, metavar="N", help="take at most N examples, their augmentations not counted"
    )
    parser.add_argument(
        "--max-rejects", type=float, default=0.01, metavar="F", help="fraction of unreadable members (default: 0.01)"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be done and what it would cost")
    parser.add_argument(
        "--sheet", metavar="FILE", help="a .png with pictures of the first 16 examples when all is done"
    )
    add_engine_arguments(parser)
    add_hosts_arguments(parser)
    add_storage_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print events and the result as JSON lines")
    parser.add_argument("--quiet", action="store_true", help="print no progress and no summary")


def run(args: argparse.Namespace, *, watch: Report = silent) -> None:
    """Convert, or say what converting would cost.

    Args:
        args: Arguments as `functa_store.cli.main.parse` gives them.
        watch: Is told every event, too.
    """
    preset = preset_from(args)
    options = options_from(args, preset)
    survey = SurveyOptions(
        limit=args.limit, max_rejects=args.max_rejects, check_first=CHECKED_BY_DRY_RUN if args.dry_run else None
    )
    if args.fit_batch is not None and args.fit_batch < 1:
        raise ConfigError(f"--fit-batch must be at least 1, got {args.fit_batch}")
    if args.snapshot_every is not None and not args.snapshot_every >= 0:
        raise ConfigError(f"--snapshot-every must not be negative, got {args.snapshot_every}")
    storage = storage_from(args)
    hosts = hosts_from(args)
    if hosts is None or hosts.process_id == 0:
        check_output(args.out, storage)
        _check_sheet(args)
    if hosts is not None:
        hosts.check(preset.config)
        keep_output_for_results()
    engine = None if args.dry_run else engine_from(args)
    with contextlib.ExitStack() as stack:
        shown = stack.enter_context(_progress(args))
        report = stack.enter_context(stopping_between_events(_both(shown, watch)))
        if hosts is not None and not args.dry_run:
            from functa_store.conversion.hosts import joined  # imports JAX

            stack.enter_context(joined(hosts))  # before the archive is opened: whoever cannot tells the others
        source = args.converter.open(args.archive, options, survey, report)
        if args.sheet is not None:
            from functa_store.media.sheet import check_pictures  # imports Pillow

            check_pictures(args.archive, source.domain, source.features)
        if not args.dry_run:
            from functa_store.conversion.convert import convert  # imports JAX

            rare = _given(snapshot_seconds=args.snapshot_every, engine=engine, hosts=hosts)
            convert(
                source, args.out, preset.config, storage=storage, fit_batch_size=args.fit_batch, report=report, **rare
            )
    if args.sheet is not None and not args.dry_run and not args.process_id:
        from functa_store.decode.functaset import open_functaset
        from functa_store.media.sheet import write_sheet

        functaset = open_functaset(args.out, storage=storage)
        write_sheet(functaset, slice(0, SHOWN_EXAMPLES), args.sheet)
    _finish(args, source, preset.config)


def _check_sheet(args: argparse.Namespace) -> None:
    """Refuse a sheet that could not be written, before hours of work.

    Raises:
        ConfigError: If it is no .png, or nothing will be fitted here.
        StorageError: If there is no place for it.
    """
    if args.sheet is None:
        return
    if not args.sheet.lower().endswith(".png"):
        raise ConfigError(f"--sheet {args.sheet}: expected a name that ends in .png")
    if args.workers == 0:
        raise ConfigError(
            "--sheet needs fitted examples, and --workers 0 leaves them to functa work; use functa decode"
        )
    check_folder(Path(args.sheet), f"--sheet {args.sheet}")
    check_replaceable(args.sheet, f"--sheet {args.sheet}")


def preset_from(args: argparse.Namespace) -> Preset:
    """The preset that was named, overlaid by the file of choices and then by what was typed.

    Raises:
        ConfigError: If the file cannot be read, or a value is out of range.
    """
    preset = chosen_preset(args.converter, args.preset, args.config)
    return dataclasses.replace(preset, config=overlaid(preset.config, typed_config(args)))


def options_from(args: argparse.Namespace, preset: Preset) -> ArchiveOptions:
    """Options of the archive: the preset's, overlaid by what was typed.

    Raises:
        ConfigError: If a value is refused, or some contradict each other.
    """
    kind, typed = args.converter.options, typed_options(args)
    try:
        return kind.of(**overlaid_options(kind, preset.source, typed))
    except ConfigError as error:
        if args.config is None or typed:
            raise
        raise ConfigError(f"{args.config}: source: {error}") from error


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _progress(args: argparse.Namespace) -> Any:
    if args.quiet or args.process_id:
        return contextlib.nullcontext(silent)
    return json_lines() if args.json else shown_on(for_messages())


def _both(first: Report, second: Report) -> Report:
    def report(event: Event) -> None:
        first(event)
        second(event)

    return report


def _finish(args: argparse.Namespace, source: "Source", config: ConvertConfig) -> None:
    if args.dry_run:
        from functa_store.conversion.convert import plan  # imports JAX

        facts, show = plan(source, config), _show_plan
    elif args.workers == 0 or args.process_id:
        return  # nothing is fitted yet, as a note has said, or another process says what is
    elif args.json or not args.quiet:
        facts, show = info(args.out, storage=storage_from(args)), show_info
    else:
        return
    if args.json:
        print_json(facts)
    else:
        show(facts, for_results())


def _show_plan(facts: dict[str, Any], console: Console) -> None:
    table = Table(title="What converting would do; nothing was written", show_header=False)
    for name, value in facts.items():
        if name == "classes" or (name == "augmentations" and not value):  # `origin` has classes in few words
            continue
        table.add_row(name.replace("_", " "), printable(_in_words(name, value)))
    console.print(table)


def _in_words(name: str, value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_in_words(name, inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return " x ".join(str(inner) for inner in value)
    if name.endswith("seconds"):
        return f"about {duration(float(value))}"
    return f"{value:,}" if isinstance(value, int | float) else str(value)
