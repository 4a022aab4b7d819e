"""The commands of `medforall`: arguments in, one call, words out."""

import os
import shlex
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from chassis.auth.principal import Role
from ctl import access, audit, import_export, maintenance, outbox, projection
from ctl.console import LogView
from ctl.durations import parse_duration_s
from ctl.failures import CtlError
from ctl.home import DEFAULT
from ctl.subcommands import HomeOption, home_of, registrar

app = typer.Typer(
    name="medforall",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Runs the medforall suite on this machine, and looks after it.",
    epilog="Start with `medforall up`; `medforall COMMAND --help` has examples.",
    pretty_exceptions_show_locals=False,
)
_out = Console()
command = registrar(app)


@command(
    epilog="Examples: `medforall up` · `medforall up --tls` · `medforall up --detach --port 8080` · "
    "`medforall up --home /tmp/second --port booking=9001 --port gateway=8081`"
)
def up(
    *,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when the suite is ready.")] = False,
    home: HomeOption = DEFAULT,
    port: Annotated[
        list[str] | None,
        typer.Option(
            "--port",
            metavar="[NAME=]PORT",
            help="Port of the gateway, or of process NAME. Others keep last time's port or get a free one.",
        ),
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo/--no-demo", help="Make demo clinics when there is none.")
    ] = True,
    tls: Annotated[
        bool,
        typer.Option(
            "--tls",
            help="HTTPS at the gateway and mutual TLS between services, by the certificates in <home>/certs.",
        ),
    ] = False,
    detached_child: Annotated[bool, typer.Option("--detached-child", hidden=True)] = False,
) -> None:
    """Start the whole suite and show one log; Ctrl-C drains and stops it.

    Starts PostgreSQL, NATS and Valkey (unless MEDFORALL_DATABASE_URL, MEDFORALL_NATS_URL or
    MEDFORALL_REDIS_URL name servers of yours), migrates, makes demo clinics in an empty database, and starts
    the four services. With `--tls` they speak TLS only; its certificates are made when there are none (and
    renewed by removing their directory). What dies is started again. How to reach it all stands in `<home>/run.json`.
    """
    from ctl import up as runner  # noqa: PLC0415 - most commands do without what this imports

    wanted = _wanted_ports(port or [])
    place = home_of(home)
    if detach:
        arguments = [f"--port={name}={number}" for name, number in wanted.items()]
        arguments += ["--demo" if demo else "--no-demo", *(["--tls"] if tls else [])]
        facts = runner.run_detached(place, _out, arguments=arguments)
        _out.print(f"Running in the background (pid {facts.pids['medforall']}); stop it with: medforall down")
        return
    runner.run_foreground(
        place, _out, wanted_ports=wanted, with_demo=demo, with_tls=tls, show_logs=not detached_child
    )


@command(epilog="Examples: `medforall down` · `medforall down --home /tmp/second`")
def down(
    home: HomeOption = DEFAULT,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the drain.", min=1, max=600)] = 60.0,
) -> None:
    """Stop the suite that runs in a home; what runs is drained first. Nothing to stop is no fault."""
    from ctl import up as runner  # noqa: PLC0415 - as above

    place = home_of(home)
    stopped = runner.take_down(place, timeout_s=timeout)
    _out.print("Stopped." if stopped else f"Nothing was running in {place.path}.", soft_wrap=True)


@command(epilog="Examples: `medforall status` · `medforall status --json` (exit code 3: not all is ready)")
def status(
    *,
    home: HomeOption = DEFAULT,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show each process: ready or not, its pid, address, restarts, memory and age."""
    from ctl import status as report  # noqa: PLC0415 - as above

    rows = report.look(home_of(home))
    report.print_rows(_out, rows, as_json=as_json)
    if not all(row.ready for row in rows):
        raise typer.Exit(3)


@command(epilog="Examples: `medforall logs` · `medforall logs booking -f` · `medforall logs postgres -n 200`")
def logs(
    service: Annotated[str | None, typer.Argument(help="One process; all when left out.")] = None,
    *,
    home: HomeOption = DEFAULT,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written.")] = False,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=0, max=100_000, help="Lines of each to begin with.")
    ] = 30,
) -> None:
    """Show the logs of the suite's processes, also after they have ended."""
    from ctl.log_reading import show_logs  # noqa: PLC0415 - as above

    show_logs(home_of(home), LogView(_out), service=service, follow=follow, lines=lines)


@command(epilog="Examples: `medforall reset` · `medforall reset --yes --home /tmp/second`")
def reset(
    *,
    home: HomeOption = DEFAULT,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove everything in a home: data, keys, logs. Servers of yours (MEDFORALL_*_URL) are not touched."""
    place = home_of(home)
    if not place.exists:
        _out.print(f"There is no home in {place.path}.", soft_wrap=True)
        return
    place.open()
    with place.locked():
        if not yes and not typer.confirm(f"Remove all data, keys and logs in {place.path}?"):
            raise typer.Exit(1)
        place.erase()
    _out.print(f"Removed {place.path}.", soft_wrap=True)


@command(epilog="Examples: `medforall migrate` · `MEDFORALL_DATABASE_URL=… medforall migrate`")
def migrate(home: HomeOption = DEFAULT) -> None:
    """Bring the database to this release's schema; harmless when it is there already.

    Uses MEDFORALL_DATABASE_URL, else the running suite's database, else starts the home's for a moment.
    """
    from ctl import offline, secret_store  # noqa: PLC0415 - as above
    from ctl.suite import bring_schema_up  # noqa: PLC0415 - as above

    place = home_of(home)
    with offline.database(place, os.environ) as owner_url:
        changed = bring_schema_up(owner_url, secret_store.load_or_create(place), say=_out.print)
    if not changed:
        _out.print("The schema is up to date.")


@command(
    epilog="Examples: `medforall seed` · `medforall seed --clinics 500 --days 30` · "
    "`medforall seed --seed 7 --start 2027-03-01`"
)
def seed(
    clinics: Annotated[int, typer.Option(min=1, max=5_000, help="How many clinics there shall be.")] = 3,
    days: Annotated[
        int, typer.Option(min=1, max=365, help="Days from the start that get appointments.")
    ] = 28,
    seed_number: Annotated[int, typer.Option("--seed", help="Same seed and start: same data.")] = 1,
    start: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="First day.", show_default="today")
    ] = None,
    home: HomeOption = DEFAULT,
) -> None:
    """Fill the database with demo clinics: deterministic for a seed and a start date.

    Each clinic is an import of the example file with made-up people, and so are its appointments: those of days past
    are completed, those to come are judged as bookings are, so at most 24 months ahead. Uses the database as `migrate`
    does. Clinics that are there already stay as they are, but for a diary where they have none. Ended by Ctrl-C or
    SIGTERM, it leaves whole clinics and diaries; the same command again goes on from there.
    """
    from ctl import demo, offline, secret_store  # noqa: PLC0415 - as above
    from ctl.ending import ended_by_sigterm  # noqa: PLC0415 - as above
    from ctl.key_store import KeyStore  # noqa: PLC0415 - as above
    from ctl.seed.load import SeedOptions  # noqa: PLC0415 - as above
    from ctl.suite import bring_schema_up  # noqa: PLC0415 - as above

    place = home_of(home)
    first_day = (start or datetime.now(UTC)).date()
    options = SeedOptions(clinics=clinics, days=days, seed=seed_number, first_day=first_day)
    with ended_by_sigterm(), offline.database(place, os.environ) as owner_url:
        bring_schema_up(owner_url, secret_store.load_or_create(place), say=_out.print)
        demo.seed(owner_url, KeyStore(place).master_key_file, options, console=_out)


@command(
    epilog="Examples: `medforall token --clinic 0198… --role front_desk` · "
    "`medforall token --clinic 0198… --role service --scope read:availability --ttl 15m`"
)
def token(  # noqa: PLR0917 - options, given by name
    role: Annotated[Role, typer.Option(help="What the holder is.")],
    clinic: Annotated[str, typer.Option(help="Id of the clinic; left out for the role platform only.")] = "",
    scope: Annotated[
        list[str] | None, typer.Option(help="Repeat for several.", show_default="the role's")
    ] = None,
    ttl: Annotated[str, typer.Option(help="How long it is valid: 900s, 15m, 8h, 30d.")] = "8h",
    provider: Annotated[str | None, typer.Option(help="Id of the provider who holds it.")] = None,
    patient: Annotated[str | None, typer.Option(help="Id of the patient who holds it.")] = None,
    subject: Annotated[
        str | None, typer.Option(help="Id of the user.", show_default="made from the role")
    ] = None,
    home: HomeOption = DEFAULT,
) -> None:
    """Print a token signed with the home's key, for trying things out."""
    from ctl.key_store import KeyStore, check_claims  # noqa: PLC0415 - as above

    check_claims(role, clinic_id=clinic, scopes=scope, provider_id=provider, patient_id=patient)
    place = home_of(home)
    place.check()
    typer.echo(
        KeyStore(place).token(
            role=role,
            clinic_id=clinic,
            scopes=scope,
            ttl_s=parse_duration_s(ttl),
            now_s=int(time.time()),
            provider_id=provider,
            patient_id=patient,
            subject=subject,
        )
    )


@command(epilog='Example: `eval "$(medforall env)"` then `curl -H "Authorization: Bearer $TOKEN" $GATEWAY/…`')
def env(home: HomeOption = DEFAULT) -> None:
    """Print the running suite's addresses, a token and the demo ids as shell variables."""
    from ctl.run_file import read_run_file, shell_variables  # noqa: PLC0415 - as above

    for name, value in shell_variables(read_run_file(home_of(home))).items():
        typer.echo(f"export {name}={shlex.quote(value)}")


@command(epilog="Examples: `medforall doctor` · `medforall doctor --home /tmp/second` (exit code 1: a fault)")
def doctor(home: HomeOption = DEFAULT) -> None:
    """Check installation, home, servers, schema, invariants and clock; say what to do about each fault."""
    from ctl import doctor as checks  # noqa: PLC0415 - as above

    if not checks.run(home_of(home), os.environ, _out):
        raise typer.Exit(1)


@command(
    epilog="Example: `medforall certs --directory certs`, then for each process "
    "`MEDFORALL_TLS_CA_FILE=certs/ca.pem MEDFORALL_TLS_CERT_FILE=certs/booking.pem …`"
)
def certs(
    *,
    directory: Annotated[Path, typer.Option(help="Where to write them; made if it is not there.")] = Path(
        "certs"
    ),
    days: Annotated[int, typer.Option(min=1, max=825, help="How long they are valid.")] = 90,
    host: Annotated[
        list[str] | None, typer.Option(help="Further names or addresses of this machine.")
    ] = None,
) -> None:
    """Make an authority, and a certificate for each process and for a client, for development."""
    from ctl.certs import HOSTS, make_certificates  # noqa: PLC0415 - as above

    try:
        pairs = make_certificates(directory, days=days, hosts=(*HOSTS, *(host or ())))
    except OSError as error:
        raise CtlError(f"{directory} cannot be written: {error.strerror}.") from error
    for pair in pairs.values():
        _out.print(f"{pair.certificate_file}  {pair.key_file}", soft_wrap=True)
    _out.print("Trust only in development: whoever has ca.key can be any of these.", style="dim")


def _wanted_ports(words: list[str]) -> dict[str, int]:
    from ctl.suite import PORTS  # noqa: PLC0415 - as above

    wanted = {}
    for word in words:
        name, _, number = word.rpartition("=")
        if (name or "gateway") not in PORTS or not number.isdigit():
            raise CtlError(f"--port {word!r} is not [NAME=]PORT with a NAME of: {', '.join(PORTS)}.")
        wanted[name or "gateway"] = int(number)
    return wanted


app.add_typer(access.app)
app.add_typer(audit.app)
app.add_typer(maintenance.app)
app.add_typer(maintenance.keys_app)
app.add_typer(outbox.app)
app.add_typer(projection.app, name="projection")
command(epilog="Example: `medforall replay --clinic ID --resource ID --from 2026-11-22T08:00:00`")(
    projection.replay
)
command(epilog=import_export.IMPORT_EXAMPLES, name="import")(import_export.import_files)
command(epilog=import_export.EXPORT_EXAMPLES)(import_export.export)
